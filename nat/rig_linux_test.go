package nat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// table opens the rules of the gateway by a backend; a test of one that this machine
// does not have is skipped.
func (w *wire) table(b Backend) *Table {
	w.t.Helper()
	return tableOn(w.t, w.host, b)
}

func tableOn(t testing.TB, h *lab.Host, b Backend) *Table {
	t.Helper()
	switch b {
	case IPTablesNFT:
		need.Program(t, "iptables-nft-restore", "ip6tables-nft-restore")
	case IPTablesLegacy:
		need.Program(t, "iptables-legacy-restore", "ip6tables-legacy-restore")
	}
	table, err := Open(Config{NetNS: h.Path(), Backend: b})
	if errors.Is(err, errors.ErrUnsupported) && os.Getenv(need.Promised) == "" {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { table.Close() })
	return table
}

// apply makes the rules these.
func (w *wire) apply(table *Table, list []Rule) {
	w.t.Helper()
	if _, err := table.Apply(w.t.Context(), list); err != nil {
		w.t.Fatalf("%v\nrules:\n%s", err, lines(list))
	}
}

// lines are rules one a line.
func lines(list []Rule) string {
	var b strings.Builder
	for _, r := range list {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

// eachBackend runs a test on every backend, all at once.
func eachBackend(t *testing.T, f func(t *testing.T, b Backend)) {
	for _, b := range []Backend{NFTables, IPTablesNFT, IPTablesLegacy} {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			f(t, b)
		})
	}
}

// leftOut tells which ones of a long list an emulated machine leaves out: all but each n-th.
func leftOut(i, n int) bool { return need.Emulated() && i%n != 0 }

// rig is a gateway between machines with sockets: servers inside, clients outside.
type rig struct {
	t                            *testing.T
	gateway, web, db, pc, client *lab.Host
}

func newRig(t *testing.T) *rig {
	l := labtest.New(t)
	inside, outside := labtest.Switch(t, l, "inside"), labtest.Switch(t, l, "outside")
	r := &rig{t: t, gateway: labtest.Host(t, l, "gateway")}
	labtest.Connect(t, r.gateway, inside, gateway.nic("eth0").addrs[0].String(), gateway.nic("eth0").addrs[1].String())
	labtest.Connect(t, r.gateway, outside, gateway.nic("eth1").addrs[0].String(), gateway.nic("eth1").addrs[1].String())
	must(t, r.gateway.Forward())
	for _, h := range []struct {
		name string
		on   *lab.Switch
		as   **lab.Host
	}{{"web", inside, &r.web}, {"db", inside, &r.db}, {"pc", inside, &r.pc}, {"client", outside, &r.client}} {
		*h.as = labtest.Host(t, l, h.name)
		labtest.Connect(t, *h.as, h.on, places[h.name][0]+"/24", places[h.name][1]+"/64")
		if h.on == inside {
			for i, p := range prefixes("0.0.0.0/0", "::/0") {
				must(t, (*h.as).Route(p, gateway.nic("eth0").addrs[i].Addr()))
			}
		}
	}
	return r
}

// serve starts servers on a port of a place's addresses, see says.
func (r *rig) serve(h *lab.Host, place, port string) {
	r.t.Helper()
	for _, host := range places[place] {
		says(r.t, h, net.JoinHostPort(host, port))
	}
}

// says starts servers of TCP and UDP at an address. They tell each client who it is, and
// where it has come to.
func says(t testing.TB, h *lab.Host, addr string) {
	t.Helper()
	l, err := h.Listen("tcp", addr)
	must(t, err)
	u, err := h.ListenPacket("udp", addr)
	must(t, err)
	h.Go(func(context.Context) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return nil
			}
			fmt.Fprintf(c, "%s > %s", hostOf(c.RemoteAddr()), c.LocalAddr())
			c.Close()
		}
	})
	h.Go(func(context.Context) error {
		for b := make([]byte, 9); ; {
			_, from, err := u.ReadFrom(b)
			if err != nil {
				return nil
			}
			u.WriteTo(fmt.Appendf(nil, "%s > %s", hostOf(from), u.LocalAddr()), from)
		}
	})
}

func hostOf(a net.Addr) string {
	host, _, _ := net.SplitHostPort(a.String())
	return host
}

// ask is what the server at an address says.
func ask(t testing.TB, h *lab.Host, network, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := h.Dial(ctx, network, addr)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if network == "udp" {
		c.Write([]byte("who am I?"))
		b := make([]byte, 200)
		n, err := c.Read(b)
		if err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
