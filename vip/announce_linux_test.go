package vip

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/arp"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// pair is two nodes that take turns in holding an address, and a client.
type pair struct {
	client, a, b *lab.Host
	linkA, linkB *lab.Link
	lan          *lab.Switch
}

func newPair(t *testing.T) pair {
	t.Helper()
	l := labtest.New(t)
	need.Program(t, "ip")
	lan := labtest.Switch(t, l, "lan")
	p := pair{lan: lan, client: labtest.Host(t, l, "client"), a: labtest.Host(t, l, "a"), b: labtest.Host(t, l, "b")}
	labtest.Connect(t, p.client, lan, "10.0.0.9/24", "fd00::9/64")
	p.linkA = labtest.Connect(t, p.a, lan, "10.0.0.11/24", "fd00::11/64")
	p.linkB = labtest.Connect(t, p.b, lan, "10.0.0.12/24", "fd00::12/64")
	return p
}

var (
	pairVIP4 = netip.MustParseAddr("10.0.0.100")
	pairVIP6 = netip.MustParseAddr("fd00::100")
)

// neighbour is the MAC that a host has for an address.
func neighbour(t *testing.T, h *lab.Host, addr netip.Addr) string {
	t.Helper()
	_, rest, _ := strings.Cut(labtest.Run(t, h, "ip", "neigh", "show", addr.String()), "lladdr ")
	mac, _, _ := strings.Cut(rest, " ")
	return mac
}

// meet makes a host learn a neighbour's MAC, as traffic does.
func meet(t *testing.T, h *lab.Host, addr netip.Addr) {
	t.Helper()
	within(t, 30*time.Second, "the client learns "+addr.String(), func() bool {
		conn, err := h.Dial(t.Context(), "udp", netip.AddrPortFrom(addr, 9).String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("x"))
		conn.Close()
		return neighbour(t, h, addr) != ""
	})
}

// announces tells whether a frame announces an address, and by which MAC, in the
// frame and in what it says.
func announces(data []byte, addr netip.Addr) (mac, says net.HardwareAddr, ok bool) {
	switch {
	case len(data) >= 42 && data[12] == 8 && data[13] == 6:
		ok = bytes.Equal(data[28:32], addr.AsSlice()) && bytes.Equal(data[38:42], addr.AsSlice())
		return data[6:12], data[22:28], ok
	case len(data) == 86 && data[12] == 0x86 && data[13] == 0xdd && data[54] == typeAdvertise:
		return data[6:12], data[80:86], bytes.Equal(data[62:78], addr.AsSlice()) && data[58]&0x40 == 0
	}
	return nil, nil, false
}

// awaits returns the next n announcements of an address by the host.
func awaits(t *testing.T, c *lab.Capture, addr netip.Addr, n int) (list []lab.Frame) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for len(list) < n {
		f, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("%d of %d announcements of %v: %v", len(list), n, addr, err)
		}
		if _, _, ok := announces(f.Data, addr); ok && f.FromHost {
			list = append(list, f)
		}
	}
	return list
}

func capture(t *testing.T, link *lab.Link) *lab.Capture {
	t.Helper()
	c, err := link.Capture(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Each form of announcement moves a neighbour's entry, young or old.
func TestNeighboursFollowEachForm(t *testing.T) {
	p := newPair(t)
	b := on(t, p.b)
	m := b.manager(Config{})
	client := on(t, p.client)
	forms := []struct {
		name  string
		addr  netip.Addr
		frame func(mac net.HardwareAddr) ([]byte, error)
	}{
		{"request", pairVIP4, func(mac net.HardwareAddr) ([]byte, error) {
			return gratuitous(arp.OperationRequest, mac, make(net.HardwareAddr, 6), pairVIP4)
		}},
		{"reply", pairVIP4, func(mac net.HardwareAddr) ([]byte, error) {
			return gratuitous(arp.OperationReply, mac, mac, pairVIP4)
		}},
		{"advertisement", pairVIP6, func(mac net.HardwareAddr) ([]byte, error) { return advertisement(mac, pairVIP6, true), nil }},
	}
	for _, form := range forms {
		for _, age := range []string{"young", "old"} {
			t.Run(form.name+" for an entry that is "+age, func(t *testing.T) {
				if form.addr.Is4() {
					client.ip("neigh flush " + form.addr.String() + " dev eth0")
					locktime := map[string]string{"young": "10000", "old": "0"}[age] // of 10 ms
					labtest.Run(t, p.client, "sh", "-c", "echo "+locktime+" > /proc/sys/net/ipv4/neigh/eth0/locktime")
				}
				labtest.Run(t, p.client, "ip", "neigh", "replace", form.addr.String(), "lladdr", p.linkA.MAC().String(), "dev", "eth0", "nud", "reachable")
				data, err := form.frame(p.linkB.MAC())
				if err == nil {
					err = m.herald.out.send(b.path, p.linkB.Index(), data)
				}
				if err != nil {
					t.Fatal(err)
				}
				within(t, 10*time.Second, "the entry follows", func() bool {
					return neighbour(t, p.client, form.addr) == p.linkB.MAC().String()
				})
			})
		}
	}
}

// A takeover as with VRRP: the client's traffic goes where the address goes.
func TestTheClientFollowsTheAnnouncement(t *testing.T) {
	p := newPair(t)
	state := want("10.0.0.100@eth0", "fd00::100@eth0")
	ma, mb := on(t, p.a).manager(Config{State: state}), on(t, p.b).manager(Config{State: state})
	turns := []struct {
		from, to *Manager
		link     *lab.Link
	}{{mb, ma, p.linkA}, {ma, mb, p.linkB}, {mb, ma, p.linkA}}
	for i, turn := range turns {
		if err := turn.from.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := turn.to.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := turn.to.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, addr := range []netip.Addr{pairVIP4, pairVIP6} {
			if i == 0 {
				meet(t, p.client, addr)
			}
			within(t, 10*time.Second, fmt.Sprintf("turn %d: the client's entry for %v follows", i, addr), func() bool {
				return neighbour(t, p.client, addr) == turn.link.MAC().String()
			})
		}
	}
	if s := ma.Status(); s.Announced != 6 || s.Unannounced != 0 { // twice 2 of ARP and an advertisement
		t.Errorf("announced %d, failed %d, want 6, 0", s.Announced, s.Unannounced)
	}
}

// tcpdump is the independent reader of our frames.
func TestAnnouncementsAsTcpdumpReadsThem(t *testing.T) {
	p := newPair(t)
	need.Program(t, "tcpdump")
	if err := p.a.Forward(); err != nil {
		t.Fatal(err)
	}
	m := on(t, p.a).manager(Config{State: want("10.0.0.100@eth0", "fd00::100@eth0")})
	dump := labtest.Start(t, p.client, "listening", "tcpdump", "-i", "eth0", "-lnvve", "arp host 10.0.0.100 or (icmp6 and dst host ff02::1 and src host fd00::100)")
	if err := m.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	mac := p.linkA.MAC().String()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, text := range []string{
		mac + " > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 60: Ethernet (len 6), IPv4 (len 4), Request who-has 10.0.0.100 tell 10.0.0.100",
		"Reply 10.0.0.100 is-at " + mac,
		"hlim 255, next-header ICMPv6 (58) payload length: 32) fd00::100 > ff02::1: [icmp6 sum ok] ICMP6, neighbor advertisement, length 32, tgt is fd00::100, Flags [router, override]",
		"destination link-address option (2), length 8 (1): " + mac,
	} {
		if err := dump.WaitOutput(ctx, text); err != nil {
			t.Errorf("no %q: %v", text, err)
		}
	}
}

func TestRunRepeatsAnnouncementsWithTheMACOfTheMoment(t *testing.T) {
	p := newPair(t)
	m, _, stop := on(t, p.a).running(Config{})
	frames := capture(t, p.linkA)
	on(t, p.a).apply(m, want("fd00::100@eth0"))
	start := time.Now()
	if err := m.Announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaits(t, frames, pairVIP6, 1)
	list := awaits(t, frames, pairVIP6, 2)
	for i, f := range list {
		if least := rounds[i+1]; f.Time.Sub(start) < least-50*time.Millisecond {
			t.Errorf("round %d came after %v, want %v", i+1, f.Time.Sub(start), least)
		}
	}
	const mac = "02:00:00:00:77:77"
	labtest.Run(t, p.a, "ip", "link", "set", "eth0", "address", mac)
	within(t, 60*time.Second, "the new MAC is announced", func() bool {
		from, says, _ := announces(awaits(t, frames, pairVIP6, 1)[0].Data, pairVIP6)
		if from.String() != says.String() {
			t.Fatalf("a frame from %v says %v", from, says)
		}
		return says.String() == mac
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// All that Run sends is sent: the address has gone before the next round.
	before := m.Status().Announced
	if err := m.Announce(t.Context()); err != nil || m.Status().Announced != before {
		t.Errorf("what is not held was announced: %v", err)
	}
}

func TestAnnounceOverEachKindOfInterface(t *testing.T) {
	p := newPair(t)
	a := on(t, p.a)
	for _, kind := range []struct{ name, add string }{
		{"vlan0", "link add link eth0 name vlan0 type vlan id 7"},
		{"mac0", "link add link eth0 name mac0 address 02:00:00:00:00:77 type macvlan mode bridge"},
		{"bond0", "link add bond0 type bond mode active-backup"},
		{"br0", "link add br0 type bridge"},
	} {
		t.Run(kind.name, func(t *testing.T) {
			if out, err := a.run("ip", strings.Fields(kind.add)...); err != nil {
				t.Skipf("no such interface here: %s", out)
			}
			port := p.linkA
			if kind.name == "bond0" || kind.name == "br0" { // which take a member
				member, err := p.a.Connect(p.lan, lab.LinkConfig{})
				if err != nil {
					t.Fatal(err)
				}
				port = member
				a.ip("link set " + member.Name() + " down")
				a.ip("link set " + member.Name() + " master " + kind.name)
				a.ip("link set " + member.Name() + " up")
			}
			a.ip("link set " + kind.name + " up")
			// Before this state Announce would leave it to Run, which does not run here.
			within(t, 30*time.Second, "it is ready", func() bool { return strings.Contains(a.ip("link show "+kind.name), "state UP") })
			fields := strings.Fields(strings.SplitAfter(a.ip("link show "+kind.name), "link/ether ")[1])
			m := a.manager(Config{State: want("10.7.0.1@" + kind.name)})
			frames := capture(t, port)
			if err := m.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := m.Announce(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, f := range awaits(t, frames, netip.MustParseAddr("10.7.0.1"), 2) {
				from, says, _ := announces(f.Data, netip.MustParseAddr("10.7.0.1"))
				if from.String() != fields[0] || says.String() != fields[0] {
					t.Errorf("from %v, says %v, want %s", from, says, fields[0])
				}
			}
			a.release(m)
			m.Close()
		})
	}
}

func TestNobodyIsToldOfLoopbackAndDummy(t *testing.T) {
	h := newHost(t)
	state := want("10.0.0.1@lo", "fd00::1@lo")
	if _, err := h.run("ip", "link", "add", "d0", "type", "dummy"); err == nil {
		h.ip("link set d0 up")
		state.Addresses = append(state.Addresses, want("10.0.0.2@d0", "fd00::2@d0").Addresses...)
	}
	m := h.manager(Config{State: state})
	if err := m.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Announce(t.Context()); err != nil {
		t.Error(err)
	}
	if s := m.Status(); s.Announced != 0 || s.Unannounced != 0 || !m.herald.next().IsZero() {
		t.Errorf("announced %d, failed %d", s.Announced, s.Unannounced)
	}
	h.release(m)
}

func TestAnAnnouncementWaitsForTheInterface(t *testing.T) {
	p := newPair(t)
	a := on(t, p.a)
	m, _, _ := a.running(Config{})
	frames := capture(t, p.linkA)
	if err := p.linkA.Down(); err != nil { // no carrier
		t.Fatal(err)
	}
	within(t, 30*time.Second, "no carrier", func() bool { return strings.Contains(a.ip("link show eth0"), "NO-CARRIER") })
	a.apply(m, want("10.0.0.100@eth0"))
	if err := m.Announce(t.Context()); err != nil {
		t.Errorf("an interface that is not ready: %v", err)
	}
	if s := m.Status(); s.Announced != 0 {
		t.Errorf("%d frames without carrier", s.Announced)
	}
	if err := p.linkA.Up(); err != nil {
		t.Fatal(err)
	}
	awaits(t, frames, pairVIP4, 4) // two rounds

	// What Run puts back is announced again, from its first round on.
	a.ip("address del 10.0.0.100/32 dev eth0")
	within(t, 30*time.Second, "it is put back", func() bool { return m.Status().PutBack > 0 })
	awaits(t, frames, pairVIP4, 4)
	a.release(m)
}

func TestAnnounceWithoutTheKernel(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{State: want("10.0.0.1@eth0")})
	if err := m.Announce(t.Context()); err != nil {
		t.Errorf("nothing held: %v", err)
	}
	if err := m.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.herald.free = time.Now().Add(time.Hour)
	if err := m.Announce(ctx); err == nil {
		t.Error("a context that has ended")
	}
	m.herald.free = time.Time{}
	h.release(m)
	m.Close()
	if err := m.Announce(t.Context()); err == nil || !strings.Contains(err.Error(), "not open") {
		t.Errorf("closed: %v", err)
	}
}

func TestAnAddressOnARenamedInterfaceIsAnnounced(t *testing.T) {
	p := newPair(t)
	a := on(t, p.a)
	m := a.manager(Config{State: want("10.0.0.100@eth0")})
	if err := m.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.ip("link set eth0 down")
	a.ip("link set eth0 name lan0")
	a.ip("link set lan0 up")
	within(t, 30*time.Second, "it is ready", func() bool { return strings.Contains(a.ip("link show lan0"), "state UP") })
	frames := capture(t, p.linkA)
	if err := m.Announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaits(t, frames, pairVIP4, 2)
	a.release(m)
}

// What somebody took away is not announced, whoever may have it now.
func TestWhatIsMissingIsNotAnnounced(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{OnLoss: Report, State: want("10.0.0.1@eth0", "fd00::1@eth0")})
	if err := m.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.ip("address del 10.0.0.1/32 dev eth0")
	h.ip("address add 10.0.0.1/24 dev eth0") // not ours
	if err := m.Announce(t.Context()); err != nil {
		t.Error(err)
	}
	if s := m.Status(); s.Announced != 1 { // fd00::1
		t.Errorf("%d frames, want 1", s.Announced)
	}
	h.release(m)
}
