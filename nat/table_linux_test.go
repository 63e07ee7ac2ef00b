package nat

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// rig is a gateway between an inside and an outside network.
type rig struct {
	gateway, client, server *lab.Host
	table                   *Table
}

func newRig(t *testing.T) *rig {
	l := labtest.New(t)
	inside, outside := labtest.Switch(t, l, "inside"), labtest.Switch(t, l, "outside")
	r := &rig{labtest.Host(t, l, "gateway"), labtest.Host(t, l, "client"), labtest.Host(t, l, "server"), nil}
	labtest.Connect(t, r.gateway, inside, "192.168.160.1/24", "fd00::1/64")
	labtest.Connect(t, r.gateway, outside, "12.0.0.1/24", "2001:db8::1/64")
	labtest.Connect(t, r.client, outside, "12.0.0.12/24", "2001:db8::12/64")
	labtest.Connect(t, r.server, inside, "192.168.160.100/24", "fd00::100/64")
	must(t, r.gateway.Forward())
	for _, p := range []string{"0.0.0.0/0", "::/0"} {
		via := map[bool][2]string{true: {"192.168.160.1", "12.0.0.1"}, false: {"fd00::1", "2001:db8::1"}}[p[0] == '0']
		must(t, r.server.Route(netip.MustParsePrefix(p), netip.MustParseAddr(via[0])))
	}
	table, err := Open(Config{NetNS: r.gateway.Path()})
	must(t, err)
	t.Cleanup(func() { table.Close() })
	r.table = table
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says starts a server that tells each client who it is, and where it went.
func says(t testing.TB, h *lab.Host, addr string) {
	t.Helper()
	l, err := h.Listen("tcp", addr)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%s %s", c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(), c.LocalAddr())
			c.Close()
		}
	}()
}

func ask(t testing.TB, h *lab.Host, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	c, err := h.Dial(ctx, "tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestQuick(t *testing.T) {
	r := newRig(t)
	says(t, r.server, "192.168.160.100:8080")
	says(t, r.server, "[fd00::100]:8080")
	says(t, r.client, "12.0.0.12:99")
	says(t, r.client, "[2001:db8::12]:99")
	want := rules(t,
		"dnat web: tcp destination 12.0.0.1:3344 to 192.168.160.100:8080 hairpin 192.168.160.0/24",
		"dnat web6: tcp destination [2001:db8::1]:3344 to [fd00::100]:8080 hairpin fd00::/64",
		"dnat shift: tcp destination 12.0.0.1:70-79 to 192.168.160.100:8071-8080",
		"dnat shift-in: tcp in eth1 destination 12.0.0.1:170-179 to 192.168.160.100:8071-8080",
		"dnat one: tcp in eth1 destination 12.0.0.1:200-210 to 192.168.160.100:8080",
		"redirect: ipv4 tcp in eth0 destination *:81 to *:82",
		"snat: tcp source 192.168.160.0/25 original 12.0.0.0/24:88 out eth1 to 12.0.0.1:2000-3000 random",
		"snat: source 192.168.160.0/24 out eth1 to 12.0.0.1",
		"masquerade: tcp source fd00::/65 out eth1 to *:2000-3000",
		"masquerade: source fd00::/64 out eth1 random",
	)
	changes, err := r.table.Apply(t.Context(), want)
	must(t, err)
	for _, c := range changes {
		t.Log(c)
	}
	t.Log(labtest.Run(t, r.gateway, "nft", "list", "ruleset"))
	for _, addr := range []string{"12.0.0.1:3344", "[2001:db8::1]:3344", "12.0.0.1:79", "12.0.0.1:179", "12.0.0.1:205"} {
		t.Log("client", addr, ask(t, r.client, addr))
		t.Log("gateway", addr, ask(t, r.gateway, addr))
		t.Log("server", addr, ask(t, r.server, addr))
	}
	says(t, r.gateway, ":82")
	t.Log(ask(t, r.server, "1.1.1.1:81"))
	t.Log(ask(t, r.server, "12.0.0.12:99"))
	t.Log(ask(t, r.server, "[2001:db8::12]:99"))
	list, err := r.table.List(t.Context())
	must(t, err)
	for _, s := range list {
		t.Log(s.Rule, s.Packets, s.Bytes)
	}
	s, err := r.table.b.read(t.Context())
	must(t, err)
	if !s.sound {
		t.Error("it is not sound")
	}
	changes, err = r.table.Apply(t.Context(), want)
	if err != nil || len(changes) > 0 {
		t.Errorf("the second time: %v %v", changes, err)
	}
	changes, err = r.table.Apply(t.Context(), append(want[2:5:5], want[6:]...))
	t.Log(changes, err)
	t.Log(labtest.Run(t, r.gateway, "nft", "list", "ruleset"))
	_ = strings.Join
}
