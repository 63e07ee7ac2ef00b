package nat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// client is a client of UDP that keeps its socket, and so its flow.
type client struct {
	t *testing.T
	c net.Conn
}

func newClient(t *testing.T, h *lab.Host, addr string) client {
	t.Helper()
	c, err := h.Dial(t.Context(), "udp", addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return client{t, c}
}

// wants asks until somebody answers, who tells whom he saw and where that came.
func (c client) wants(when, want string) {
	c.t.Helper()
	if got := c.asks(); got != want {
		c.t.Errorf("%s: %q, want %q", when, got, want)
	}
}

func (c client) asks() string {
	b := make([]byte, 200)
	for range 20 { // the first packet may wait for the neighbour's address
		c.c.Write([]byte("who am I?"))
		c.c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if n, err := c.c.Read(b); err == nil {
			return string(b[:n])
		}
	}
	return ""
}

// speaks sends without waiting for an answer.
func (c client) speaks() { c.c.Write([]byte("is anybody there?")) }

// echo is a server of TCP that says what it hears.
func echo(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	l, err := h.Listen("tcp", addr)
	must(t, err)
	h.Go(func(context.Context) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return nil
			}
			go io.Copy(c, c)
		}
	})
}

// flows are what a host tracks of a protocol, by their first packet, and what tells one
// from another with the same addresses.
func flows(t testing.TB, h *lab.Host, p Protocol) map[string]string {
	t.Helper()
	ns, err := openNamespace(h.Path())
	must(t, err)
	defer ns.close()
	w, err := ns.conntrack(t.Context())
	must(t, err)
	defer w.close()
	all := map[string]string{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		m, err := conntrackMessage(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, family, nil)
		must(t, err)
		_, err = w.dump.Send(m)
		must(t, err)
		for m, err := range w.dump.ReceiveIter() {
			must(t, err)
			f, key, ok := decodeFlow(m.Data)
			if !ok {
				t.Fatalf("a flow that can not be read: %x", m.Data)
			}
			if f.protocol == p {
				all[fmt.Sprintf("%s > %s", f.src, f.dst)] = fmt.Sprintf("as %s > %s %x", f.from, f.to, key)
			}
		}
	}
	return all
}

// TestClientsThatKeepTheirSocket has clients of UDP and a connection of TCP go on
// while rules change.
func TestClientsThatKeepTheirSocket(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		r := newRig(t)
		r.serve(r.web, "web", "53")
		r.serve(r.db, "db", "53")
		r.serve(r.gateway, "pub", "53")
		for which, v6 := range []bool{false, true} {
			x := func(text string) string { return expand(text, v6) }
			echo(t, r.web, x("{web:7}"))
			table := tableOn(t, r.gateway, b)
			apply := func(texts ...string) {
				t.Helper()
				var list []Rule
				for _, text := range append(texts, "dnat: udp destination {pub:1053} to {web:53}", "dnat: tcp destination {pub:7} to {web:7}") {
					list = append(list, rules(t, x(text))...)
				}
				_, err := table.Apply(t.Context(), list)
				must(t, err)
			}
			toWeb, toDB := "dnat: udp destination {pub:53} to {web:53}", "dnat: udp destination {pub:53} to {db:53}"

			apply()
			beside := newClient(t, r.client, x("{pub:1053}"))
			beside.wants("a rule that stays", x("{client} > {web:53}"))
			tcp, err := r.client.Dial(t.Context(), "tcp", x("{pub:7}"))
			must(t, err)
			defer tcp.Close()
			before := flows(t, r.gateway, UDP)
			connections := flows(t, r.gateway, TCP)

			c := newClient(t, r.client, x("{pub:53}"))
			c.wants("without a rule", x("{client} > {pub:53}"))
			apply(toWeb)
			c.wants("a new rule", x("{client} > {web:53}"))
			apply(toDB)
			c.wants("another server", x("{client} > {db:53}"))
			apply("dnat: udp destination {pub:53} to {lost:53}")
			c.speaks() // a flow that nobody answers
			c.speaks()
			apply(toWeb)
			c.wants("a server after one that is gone", x("{client} > {web:53}"))
			apply()
			c.wants("no server any more", x("{client} > {pub:53}"))
			must(t, table.Add(t.Context(), rules(t, x(toDB))...))
			c.wants("a rule that was added", x("{client} > {db:53}"))
			must(t, table.Remove(t.Context(), rules(t, x(toDB))...))
			c.wants("a rule that was removed", x("{client} > {pub:53}"))
			apply("dnat: udp in eth1 source {outside} destination {pub:50-59} to {db:53}")
			c.wants("a rule of an interface", x("{client} > {db:53}"))
			apply("dnat: destination {pub} to {web}")
			c.wants("a rule of all protocols", x("{client} > {web:53}"))
			apply("redirect: {family} udp in eth1 destination *:53 to *:53")
			c.wants("the gateway itself", x("{client} > {pub:53}"))

			after := flows(t, r.gateway, UDP)
			for key, id := range before {
				if after[key] != id {
					t.Errorf("%s: the flow of a rule that stays was %s, is %s", key, id, after[key])
				}
			}
			beside.wants("a rule that stays", x("{client} > {web:53}"))
			tcp.SetDeadline(time.Now().Add(5 * time.Second))
			fmt.Fprint(tcp, "hello")
			if _, err := io.ReadFull(tcp, make([]byte, 5)); err != nil {
				t.Errorf("the connection of TCP: %v", err)
			}
			if got := flows(t, r.gateway, TCP); !maps.Equal(got, connections) {
				t.Errorf("connections were\n%v, are\n%v", connections, got)
			}

			c.wants("before all is cleared", x("{client} > {pub:53}"))
			apply(toDB)
			c.wants("before all is cleared", x("{client} > {db:53}"))
			must(t, table.Clear(t.Context()))
			c.wants("no rule any more", x("{client} > {pub:53}"))
			if n := table.Stats().ForgottenFlows; n < 11 || n > 20 {
				t.Errorf("family %d: %d flows were forgotten", which, n)
			}
			table.Close()
		}
	})
}

// TestSourcesOfClientsThatKeepTheirSocket is the same for what servers outside see.
func TestSourcesOfClientsThatKeepTheirSocket(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		r := newRig(t)
		r.serve(r.client, "client", "53")
		must(t, r.client.Route(netip.MustParsePrefix(places["inside"][0]), netip.MustParseAddr(places["pub"][0])))
		must(t, r.client.Route(netip.MustParsePrefix(places["inside"][1]), netip.MustParseAddr(places["pub"][1])))
		labtest.Run(t, r.gateway, "ip", "addr", "add", "12.0.0.2/24", "dev", "eth1", "preferred_lft", "0")
		labtest.Run(t, r.gateway, "ip", "addr", "add", "2001:db8::2/64", "dev", "eth1", "nodad", "preferred_lft", "0")
		for _, v6 := range []bool{false, true} {
			x := func(text string) string { return expand(text, v6) }
			table := tableOn(t, r.gateway, b)
			apply := func(texts ...string) {
				t.Helper()
				var list []Rule
				for _, text := range texts {
					list = append(list, rules(t, x(text))...)
				}
				_, err := table.Apply(t.Context(), list)
				must(t, err)
			}
			c := newClient(t, r.pc, x("{client:53}"))
			c.wants("without a rule", x("{pc} > {client:53}"))
			other := newClient(t, r.db, x("{client:53}"))
			other.wants("without a rule", x("{db} > {client:53}"))
			before := flows(t, r.gateway, UDP)
			apply("snat: source {pc} out eth1 to {pub}")
			c.wants("a new rule", x("{pub} > {client:53}"))
			apply("snat: udp source {pc} to {vip:5000-5009}")
			c.wants("another address", x("{vip} > {client:53}"))
			apply("snat: udp source {pc} destination {client:53} to {pub}")
			c.wants("the destination tells", x("{pub} > {client:53}"))
			apply("snat: udp source {pc} original {client:53} to {vip}")
			c.wants("the original destination tells", x("{vip} > {client:53}"))
			apply()
			c.wants("without a rule again", x("{pc} > {client:53}"))
			after := flows(t, r.gateway, UDP)
			for key, id := range before {
				if key[:len(places["db"][0])] == places["db"][0] && after[key] != id {
					t.Errorf("%s: the flow that no rule concerned was %s, is %s", key, id, after[key])
				}
			}
			apply("masquerade: {family} out eth1")
			c.wants("masquerade", x("{pub} > {client:53}"))
			must(t, table.Clear(t.Context()))
			c.wants("cleared", x("{pc} > {client:53}"))
			table.Close()
		}
	})
}

// TestFlowsThatAKilledProgramLeft has the rules written and conntrack left as it was.
func TestFlowsThatAKilledProgramLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.serve(r.web, "web", "53")
	r.serve(r.gateway, "pub", "53")
	list := rules(t, expand("dnat: udp destination {pub:53} to {web:53}", false))
	killed := tableOn(t, r.gateway, NFTables)
	_, err := killed.Apply(t.Context(), rules(t, "masquerade: source 10.0.0.0/8")) // without any, nothing is tracked
	must(t, err)
	c := newClient(t, r.client, expand("{pub:53}", false))
	c.wants("without a rule", expand("{client} > {pub:53}", false))
	must(t, killed.Clear(t.Context()))
	s, err := killed.b.read(t.Context())
	must(t, err)
	must(t, killed.b.write(t.Context(), s, []Change{{AddRule, list[0]}}, normal(list)))
	c.wants("the rule does not concern the flow that is there", expand("{client} > {pub:53}", false))

	table := tableOn(t, r.gateway, NFTables)
	changes, err := table.Apply(t.Context(), list)
	if err != nil || len(changes) > 0 {
		t.Fatalf("Apply changed %v: %v", changes, err)
	}
	c.wants("the next program", expand("{client} > {web:53}", false))
	id := flows(t, r.gateway, UDP)
	_, err = tableOn(t, r.gateway, NFTables).Apply(t.Context(), list)
	must(t, err)
	if got := flows(t, r.gateway, UDP); !maps.Equal(got, id) {
		t.Errorf("a third program disturbs flows that are as they should be:\n%v\n%v", id, got)
	}
}

// TestManyFlows forgets a quarter of them; LVSKIT_FLOWS is how many there are.
func TestManyFlows(t *testing.T) {
	n := 4000
	if text := os.Getenv("LVSKIT_FLOWS"); text != "" {
		fmt.Sscan(text, &n)
	}
	if need.Emulated() {
		n = 400
	}
	l := labtest.New(t)
	h := labtest.Host(t, l, "gateway")
	for _, p := range []Protocol{UDP, TCP} {
		makeFlows(t, h, p, n/2)
	}
	table := tableOn(t, h, NFTables)
	list := rules(t, "dnat: udp destination 12.0.0.1:53 to 10.0.0.1")
	start := time.Now()
	_, err := table.Apply(t.Context(), list)
	must(t, err)
	t.Logf("%d flows, %d of them stale: %v", n, n/4, time.Since(start))
	if got, want := len(flows(t, h, UDP)), n/4; got != want {
		t.Errorf("%d flows of UDP are left, want %d", got, want)
	}
	if got := table.Stats().ForgottenFlows; got != uint64(n/4) {
		t.Errorf("%d flows were forgotten, want %d", got, n/4)
	}
	start = time.Now()
	must(t, table.Add(t.Context(), rules(t, "dnat: tcp destination 12.0.0.1:53 to 10.0.0.1")...))
	t.Logf("a rule of TCP: %v", time.Since(start))
	start = time.Now()
	must(t, table.Add(t.Context(), rules(t, "dnat: udp destination 12.0.0.3:53 to 10.0.0.1")...))
	t.Logf("a rule of UDP that concerns none: %v", time.Since(start))
	start = time.Now()
	must(t, table.Add(t.Context(), rules(t, "dnat: destination 12.0.0.3 to 10.0.0.1")...))
	t.Logf("a rule of any protocol that concerns none: %v", time.Since(start))
	if got, want := len(flows(t, h, TCP)), n/2; got != want {
		t.Errorf("%d flows of TCP are left, want %d", got, want)
	}

	// A context that ends in the middle leaves the rest to the next call.
	makeFlows(t, h, UDP, n/2)
	must(t, table.Clear(t.Context()))
	_, err = table.Apply(t.Context(), rules(t, "dnat: udp destination 12.0.0.9:53 to 10.0.0.1"))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	b := table.b
	table.b = interrupted{b, cancel}
	if err := table.Add(ctx, list...); !errors.Is(err, context.Canceled) {
		t.Errorf("Add with a context that ends: %v", err)
	}
	table.b = b
	must(t, table.Add(t.Context(), rules(t, "dnat: udp destination 12.0.0.8:53 to 10.0.0.1")...))
	if got, want := len(flows(t, h, UDP)), n/4; got != want {
		t.Errorf("%d flows of UDP are left, want %d", got, want)
	}
}

// TestNoFlows does not have the kernel look for any.
func TestNoFlows(t *testing.T) {
	h := labtest.Host(t, labtest.New(t), "gateway")
	ns, err := openNamespace(h.Path())
	must(t, err)
	defer ns.close()
	if !ns.tracksNothing() {
		t.Error("a new namespace is said to track flows")
	}
	makeFlows(t, h, UDP, 1)
	if ns.tracksNothing() {
		t.Error("a flow is overlooked")
	}
}

// interrupted has the context end before flows are forgotten.
type interrupted struct {
	backend
	cancel func()
}

func (b interrupted) forget(ctx context.Context, s *stale) (int, error) {
	b.cancel()
	return b.backend.forget(ctx, s)
}

// makeFlows has a host track flows, half of them to 12.0.0.1, the others to 12.0.0.2.
func makeFlows(t *testing.T, h *lab.Host, p Protocol, n int) {
	t.Helper()
	var c *netlink.Conn
	must(t, netns.Do(h.Path(), func() (err error) {
		c, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	}))
	defer c.Close()
	tuple := func(src, dst netip.AddrPort) []byte {
		e := netlink.NewAttributeEncoder()
		e.Nested(nl.CTA_TUPLE_IP, func(e *netlink.AttributeEncoder) error {
			e.Bytes(nl.CTA_IP_V4_SRC, src.Addr().AsSlice())
			e.Bytes(nl.CTA_IP_V4_DST, dst.Addr().AsSlice())
			return nil
		})
		e.Nested(nl.CTA_TUPLE_PROTO, func(e *netlink.AttributeEncoder) error {
			e.Uint8(nl.CTA_PROTO_NUM, uint8(p))
			e.Bytes(nl.CTA_PROTO_SRC_PORT, port(src.Port()))
			e.Bytes(nl.CTA_PROTO_DST_PORT, port(dst.Port()))
			return nil
		})
		b, err := e.Encode()
		must(t, err)
		return b
	}
	for at := 0; at < n; {
		var batch []netlink.Message
		for ; at < n && len(batch) < 60; at++ {
			dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte{12, 0, 0, byte(1 + at%2)}), 53)
			src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{13, byte(at >> 22), byte(at >> 14), byte(at >> 6)}), uint16(1000+at&0x3f))
			e := netlink.NewAttributeEncoder()
			e.Bytes(nl.CTA_TUPLE_ORIG|unix.NLA_F_NESTED, tuple(src, dst))
			e.Bytes(nl.CTA_TUPLE_REPLY|unix.NLA_F_NESTED, tuple(dst, src))
			e.Bytes(nl.CTA_TIMEOUT, []byte{0, 0, 2, 0})
			if p == TCP {
				e.Nested(nl.CTA_PROTOINFO, func(e *netlink.AttributeEncoder) error {
					e.Nested(nl.CTA_PROTOINFO_TCP, func(e *netlink.AttributeEncoder) error {
						e.Uint8(nl.CTA_PROTOINFO_TCP_STATE, 3)
						return nil
					})
					return nil
				})
			}
			b, err := e.Encode()
			must(t, err)
			batch = append(batch, netlink.Message{
				Header: netlink.Header{
					Type:  unix.NFNL_SUBSYS_CTNETLINK<<8 | nl.IPCTNL_MSG_CT_NEW,
					Flags: netlink.Request | netlink.Create | netlink.Acknowledge,
				},
				Data: append([]byte{unix.AF_INET, 0, 0, 0}, b...),
			})
		}
		_, err := c.SendMessages(batch)
		must(t, err)
		for range batch {
			_, err := c.Receive()
			if err != nil && !errors.Is(err, unix.EEXIST) {
				t.Fatal(err)
			}
		}
	}
}

// TestConntrackErrors has words for a kernel that can not, and for missing rights.
func TestConntrackErrors(t *testing.T) {
	for errno, want := range map[error]error{
		unix.EINVAL: errors.ErrUnsupported, unix.EPROTONOSUPPORT: errors.ErrUnsupported, unix.EPERM: os.ErrPermission, unix.ENOBUFS: unix.ENOBUFS,
	} {
		if err := conntrackError(&netlink.OpError{Op: "receive", Err: errno}); !errors.Is(err, want) {
			t.Errorf("%v is %v", errno, err)
		}
	}
}

// TestFlowsInAFlowtable are forgotten, and leave the flowtable when the kernel looks
// there next, once a second.
func TestFlowsInAFlowtable(t *testing.T) {
	t.Parallel()
	need.Program(t, "nft")
	if need.Emulated() {
		need.Module(t, "nf_flow_table_inet", "nft_flow_offload")
	}
	r := newRig(t)
	r.serve(r.web, "web", "53")
	r.serve(r.db, "db", "53")
	r.serve(r.gateway, "pub", "53")
	table := tableOn(t, r.gateway, NFTables)
	_, err := table.Apply(t.Context(), rules(t, expand("dnat: udp destination {pub:53} to {web:53}", false)))
	must(t, err)
	if _, err := r.gateway.Run(t.Context(), "nft", `table ip fast {
		flowtable f { hook ingress priority 0; devices = { eth0, eth1 }; }
		chain c { type filter hook forward priority 0; meta l4proto udp flow add @f; }
	}`); err != nil {
		t.Skip(err)
	}
	c := newClient(t, r.client, expand("{pub:53}", false))
	for range 3 {
		c.wants("offloaded", expand("{client} > {web:53}", false))
	}
	if list := labtest.Run(t, r.gateway, "cat", "/proc/net/nf_conntrack"); !strings.Contains(list, "OFFLOAD") {
		t.Skip("the flow is in no flowtable")
	}
	_, err = table.Apply(t.Context(), rules(t, expand("dnat: udp destination {pub:53} to {db:53}", false)))
	must(t, err)
	for deadline := time.Now().Add(10 * time.Second); c.asks() != expand("{client} > {db:53}", false); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it goes on to the old server")
		}
	}
}

// TestKernelThatTellsNothingOfConntrack applies rules without the module for it.
func TestKernelThatTellsNothingOfConntrack(t *testing.T) {
	need.Machine(t)
	h := labtest.Host(t, labtest.New(t), "gateway")
	makeFlows(t, h, UDP, 1) // so that there is something to ask for
	const loader = "/proc/sys/kernel/modprobe"
	before, err := os.ReadFile(loader)
	must(t, err)
	must(t, os.WriteFile(loader, []byte("/bin/false"), 0o644))
	defer os.WriteFile(loader, before, 0o644)
	if out, err := exec.Command("modprobe", "-r", "nf_conntrack_netlink").CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	table := tableOn(t, h, NFTables)
	list := rules(t, "dnat: udp destination 12.0.0.1:53 to 10.0.0.1")
	changes, err := table.Apply(t.Context(), list)
	if len(changes) != 1 || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "nf_conntrack_netlink") {
		t.Errorf("%v, %v", changes, err)
	}
	t.Log(err)
	if got, err := table.List(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("the rules are %v: %v", got, err)
	}
	must(t, table.Add(t.Context(), rules(t, "dnat: tcp destination 12.0.0.1:53 to 10.0.0.1")...))
}

// FuzzDecodeFlow reads what might come from a kernel.
func FuzzDecodeFlow(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 8, 0, 3, 0, 0, 0, 1, 142})
	f.Add(append([]byte{2, 0, 0, 0, 28, 0, 1, 128, 20, 0, 1, 128, 8, 0, 1, 0, 10, 0, 0, 1, 8, 0, 2, 0, 10, 0, 0, 2, 5, 0, 2, 128},
		make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		flow, key, ok := decodeFlow(b)
		if ok && (!flow.src.Addr().IsValid() || !flow.dst.Addr().IsValid() || !flow.from.Addr().IsValid() || !flow.to.Addr().IsValid() || len(key) == 0) {
			t.Errorf("half a flow: %+v %v", flow, key)
		}
	})
}
