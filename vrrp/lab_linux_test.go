package vrrp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// on runs fn on a host and fails the test if it fails.
func on(t *testing.T, h *lab.Host, fn func() error) {
	t.Helper()
	if err := h.Do(fn); err != nil {
		t.Fatal(err)
	}
}

// change changes an interface of a host.
func change(t *testing.T, h *lab.Host, name string, fn func(netlink.Link) error) {
	t.Helper()
	on(t, h, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return fn(l)
	})
}

func nlAddr(t *testing.T, s string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func TestTheOtherTakesOverWhenTheCableIsCut(t *testing.T) {
	ha, hb, la, _ := pair(t)
	a := start(t, ha, Config{Priority: 200})
	a.waitState(Active)
	b := start(t, hb, Config{Priority: 100})
	b.wait("backup of a", func(s Status) bool { return s.State == Backup && s.ActivePriority == 200 })
	if err := la.Down(); err != nil {
		t.Fatal(err)
	}
	if s := a.waitState(Fault); s.Reason != ReasonLink {
		t.Errorf("a is in Fault because of %v", s.Reason)
	}
	if s := b.waitState(Active); s.Reason != ReasonTimeout {
		t.Errorf("b took over because of %v", s.Reason)
	}
	if err := la.Up(); err != nil {
		t.Fatal(err)
	}
	a.waitState(Active)
	if s := b.waitState(Backup); s.Reason != ReasonHigher {
		t.Errorf("b gave way because of %v", s.Reason)
	}
}

func TestATieGoesToTheGreaterAddress(t *testing.T) {
	for name, cfg := range map[string]Config{
		"IPv4": {Priority: 100},
		"IPv6": {Priority: 100, Addresses: addrs("fe80::100", "2001:db8::100")},
	} {
		t.Run(name, func(t *testing.T) {
			ha, hb, _, lb := pair(t)
			a := start(t, ha, cfg)
			a.waitState(Active)
			if err := lb.Down(); err != nil { // so that b does not hear a first
				t.Fatal(err)
			}
			cfg := cfg
			cfg.IgnoreLink = true
			b := start(t, hb, cfg)
			b.waitState(Active)
			if err := lb.Up(); err != nil {
				t.Fatal(err)
			}
			if s := a.waitState(Backup); s.Reason != ReasonTie {
				t.Errorf("a gave way because of %v", s.Reason)
			}
			b.waitState(Active)
			b.waitEvent("two active", func(e Event) bool { return e.Kind == TwoActive })
			b.waitEvent("healed", func(e Event) bool { return e.Kind == Healed })
		})
	}
}

func TestTheFamiliesAndAuthentications(t *testing.T) {
	v6 := addrs("fe80::100", "2001:db8::100")
	for name, cfg := range map[string]Config{
		"IPv6":          {Addresses: v6},
		"v2":            {Version: V2, Interval: time.Second},
		"PASS":          {Version: V2, Interval: time.Second, Auth: Auth{Kind: AuthPass, Password: "secret"}},
		"AH":            {Version: V2, Interval: time.Second, Auth: Auth{Kind: AuthAH, Password: "secret"}},
		"message only":  {Checksum: MessageOnly},
		"another group": {Multicast: netip.MustParseAddr("239.1.2.3")},
		"virtual MAC":   {VirtualMAC: true},
		"virtual MAC 6": {VirtualMAC: true, Addresses: v6},
		"255 addresses": {Addresses: many(255)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ha, hb, _, _ := pair(t)
			high, low := cfg, cfg
			high.Priority, low.Priority = 200, 100
			a, b := start(t, ha, high), start(t, hb, low)
			a.waitState(Active)
			s := b.wait("backup of a", func(s Status) bool { return s.State == Backup && s.ActivePriority == 200 && s.Stats.Received > 3 })
			if n := total(s); n > 0 {
				t.Errorf("%d packets dropped: %v", n, s.Stats.Dropped)
			}
			a.stop()
			if s := b.waitState(Active); s.Reason != ReasonResigned {
				t.Errorf("b took over because of %v", s.Reason)
			}
		})
	}
}

func many(n int) []netip.Addr {
	list, a := []netip.Addr(nil), netip.MustParseAddr("10.1.0.1")
	for range n {
		list, a = append(list, a), a.Next()
	}
	return list
}

// total are the packets that were dropped.
func total(s Status) (n uint64) {
	for _, d := range s.Stats.Dropped {
		n += d
	}
	return n
}

func TestVirtualMACIsTheSourceOfFrames(t *testing.T) {
	ha, _, la, _ := pair(t)
	for _, cfg := range []Config{{VirtualMAC: true}, {VirtualMAC: true, Addresses: addrs("fe80::100")}} {
		want := virtualMAC(len(cfg.Addresses) > 0, 51)
		c, err := la.Capture(func(f []byte) bool { return len(f) > 12 && f[0]&1 == 1 && [6]byte(f[6:12]) == [6]byte(want) })
		if err != nil {
			t.Fatal(err)
		}
		a := start(t, ha, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if _, err := c.Next(ctx); err != nil {
			t.Errorf("no frame from % x: %v", want, err)
		}
		cancel()
		c.Close()
		a.stop()
	}
}

// routed is two hosts on two switches with a router between them: 10.0.1.1 and
// 10.0.2.1.
func routed(t *testing.T) (a, b *lab.Host) {
	l := labtest.New(t)
	one, two := labtest.Switch(t, l, "one"), labtest.Switch(t, l, "two")
	a, b = labtest.Host(t, l, "a"), labtest.Host(t, l, "b")
	r := labtest.Host(t, l, "r")
	labtest.Connect(t, a, one, "10.0.1.1/24", "2001:db8:1::1/64")
	labtest.Connect(t, b, two, "10.0.2.1/24", "2001:db8:2::1/64")
	labtest.Connect(t, r, one, "10.0.1.254/24", "2001:db8:1::fe/64")
	labtest.Connect(t, r, two, "10.0.2.254/24", "2001:db8:2::fe/64")
	for _, err := range []error{
		r.Forward(),
		a.Route(netip.MustParsePrefix("10.0.2.0/24"), netip.MustParseAddr("10.0.1.254")),
		b.Route(netip.MustParsePrefix("10.0.1.0/24"), netip.MustParseAddr("10.0.2.254")),
		a.Route(netip.MustParsePrefix("2001:db8:2::/64"), netip.MustParseAddr("2001:db8:1::fe")),
		b.Route(netip.MustParsePrefix("2001:db8:1::/64"), netip.MustParseAddr("2001:db8:2::fe")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

func TestUnicastAcrossARouter(t *testing.T) {
	ha, hb := routed(t)
	for name, p := range map[string]struct{ vip, a, b string }{
		"IPv4": {"10.0.0.100", "10.0.1.1", "10.0.2.1"},
		"IPv6": {"2001:db8::100", "2001:db8:1::1", "2001:db8:2::1"},
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t, ha, Config{Priority: 200, Addresses: addrs(p.vip), Peers: addrs(p.b)})
			b := start(t, hb, Config{Priority: 100, Addresses: addrs(p.vip), Peers: addrs(p.a), MinHopLimit: 254})
			a.waitState(Active)
			b.wait("backup of a", func(s Status) bool { return s.State == Backup && s.Active == netip.MustParseAddr(p.a) })
			cfg := *b.Router.config()
			cfg.MinHopLimit = 255
			if err := b.Router.Update(cfg); err != nil {
				t.Fatal(err)
			}
			if s := b.waitState(Active); s.Stats.Dropped[DropHopLimit] == 0 {
				t.Errorf("dropped: %v", s.Stats.Dropped)
			}
			a.stop()
			b.stop()
		})
	}
}

// The first path is cut behind the interface, so that the link stays up: only the
// second tells that the other lives.
func TestTheSecondPath(t *testing.T) {
	l := labtest.New(t)
	lan, lan2, back := labtest.Switch(t, l, "lan"), labtest.Switch(t, l, "lan2"), labtest.Switch(t, l, "back")
	ha, hb := labtest.Host(t, l, "a"), labtest.Host(t, l, "b")
	labtest.Connect(t, ha, lan, "10.0.0.1/24")
	labtest.Connect(t, hb, lan2, "10.0.0.2/24") // another switch: they never hear each other
	labtest.Connect(t, ha, back, "10.9.0.1/24")
	kb := labtest.Connect(t, hb, back, "10.9.0.2/24")
	a := start(t, ha, Config{Priority: 200, SecondPath: SecondPath{Interface: "eth1", Peers: addrs("10.9.0.2")}})
	a.waitState(Active)
	b := start(t, hb, Config{Priority: 100, SecondPath: SecondPath{Interface: "eth1", Peers: addrs("10.9.0.1")}})
	s := b.wait("40 beats heard", func(s Status) bool { return s.Stats.BySecondPath >= 40 })
	if s.State != Backup || s.Stats.BecameActive != 0 {
		t.Errorf("b has not waited: %+v", s)
	}
	if err := kb.Down(); err != nil {
		t.Fatal(err)
	}
	b.waitState(Active)
	if err := kb.Up(); err != nil {
		t.Fatal(err)
	}
	b.waitState(Backup)
	if s := a.Router.Status(); s.State != Active || s.Stats.BecameActive != 1 {
		t.Errorf("a: %+v", s)
	}
}

// inject sends a message of protocol 112 from a host of the lab.
func inject(t *testing.T, h *lab.Host, ttl int, dst netip.Addr, msg []byte) {
	t.Helper()
	on(t, h, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocolVRRP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return errors.Join(
			unix.BindToDevice(fd, "eth0"),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, ttl),
			unix.Sendto(fd, msg, 0, &unix.SockaddrInet4{Addr: dst.As4()}),
		)
	})
}

func TestForgedPacketsAreDroppedAndCounted(t *testing.T) {
	ha, hb, _, _ := pair(t)
	a := start(t, ha, Config{Priority: 100})
	a.waitState(Active)
	src := netip.MustParseAddr("10.0.0.2")
	p := Packet{Version: V3, VRID: 51, Priority: 255, Interval: time.Second, Addresses: addrs("10.0.0.100")}
	good := p.Append(nil, src, group4)
	with := func(change func([]byte)) []byte {
		b := append([]byte(nil), good...)
		change(b)
		return b
	}
	other := p
	other.VRID = 52
	for _, f := range []struct {
		name string
		ttl  int
		msg  []byte
		want Drop
	}{
		{"from afar", 254, good, DropHopLimit},
		{"cut short", 255, good[:7], DropLength},
		{"a single byte", 255, good[:1], DropLength},
		{"an address missing", 255, good[:8], DropLength},
		{"a wrong checksum", 255, with(func(b []byte) { b[7]++ }), DropChecksum},
		{"another version", 255, with(func(b []byte) { b[0] = 0x71 }), DropVersion},
		{"another type", 255, with(func(b []byte) { b[0] = 0x32 }), DropType},
	} {
		before := a.Router.Status().Stats.Dropped[f.want]
		inject(t, hb, f.ttl, group4, f.msg)
		a.wait(f.name+" counted", func(s Status) bool { return s.Stats.Dropped[f.want] == before+1 })
	}
	inject(t, hb, 255, group4, other.Append(nil, src, group4)) // the filter drops it: nobody counts
	s := a.Router.Status()
	if s.State != Active || s.Stats.BecameActive != 1 || s.Stats.Received != 0 {
		t.Errorf("after forged packets: %+v", s)
	}
	inject(t, hb, 255, group4, good)
	a.waitState(Backup)
}

func TestUpdateWhileActive(t *testing.T) {
	ha, hb, _, _ := pair(t)
	a := start(t, ha, Config{Priority: 200})
	a.waitState(Active)
	b := start(t, hb, Config{Priority: 100})
	b.wait("backup of a", func(s Status) bool { return s.ActivePriority == 200 })
	cfg := *a.Router.config()
	cfg.Addresses, cfg.Priority, cfg.Interval = addrs("10.0.0.100", "10.0.0.101"), 150, 3*pace()
	if err := a.Router.Update(cfg); err != nil {
		t.Fatal(err)
	}
	b.wait("the new interval learned", func(s Status) bool {
		return s.State == Backup && s.ActivePriority == 150 && s.ActiveInterval == 3*pace()
	})
	b.waitEvent("other addresses", func(e Event) bool { return e.Kind == PeerDiffers && e.Mismatch&AddressMismatch != 0 })
	if s := a.Router.Status(); s.State != Active || s.Stats.BecameActive != 1 || s.Stats.BecameBackup != 1 {
		t.Errorf("a has lost its state: %+v", s)
	}
	cfg.Multicast = netip.MustParseAddr("239.1.2.3") // b does not hear that group
	if err := a.Router.Update(cfg); err != nil {
		t.Fatal(err)
	}
	b.waitState(Active)
}

// startMany runs Routers by one Run on a host; the first two are the group's.
func startMany(t *testing.T, h *lab.Host, count int, priority uint8, g *Group) []*Router {
	t.Helper()
	var list []*Router
	for n := range count {
		cfg := Config{
			NetNS: h.Path(), Interface: "eth0", VRID: uint8(n + 1), Priority: priority, Interval: pace(),
			Addresses: addrs(fmt.Sprintf("10.0.0.%d", 100+n)),
		}
		if n < 2 {
			cfg.Group = g
		}
		r, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, list...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return list
}

// More than 500 advertisements a second are taken several at a time.
func TestAThousandAdvertisementsASecond(t *testing.T) {
	ha, hb, _, _ := pair(t)
	a, b := startMany(t, ha, 100, 200, nil), startMany(t, hb, 100, 100, nil)
	for _, r := range a {
		(&node{t: t, Router: r}).waitState(Active)
	}
	before := make([]Stats, len(b))
	for n, r := range b {
		before[n] = (&node{t: t, Router: r}).waitState(Backup).Stats
	}
	for n, r := range b {
		s := (&node{t: t, Router: r}).wait("20 more heard", func(s Status) bool { return s.Stats.Received >= before[n].Received+20 })
		if s.State != Backup || s.Stats.BecameActive != before[n].BecameActive || total(s) > 0 {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
}

func TestGroupsAndManyRoutersOfOneRun(t *testing.T) {
	ha, hb, _, _ := pair(t)
	all := func(list []*Router, want State) {
		t.Helper()
		for _, r := range list {
			(&node{t: t, Router: r}).waitState(want)
		}
	}
	a, b := startMany(t, ha, 20, 200, NewGroup("pair")), startMany(t, hb, 20, 100, NewGroup("pair"))
	all(a, Active)
	all(b, Backup)
	track, err := a[0].Track("service", 0)
	if err != nil {
		t.Fatal(err)
	}
	track.Down()
	all(a[:2], Fault)
	all(b[:2], Active)
	all(a[2:], Active)
	track.Up()
	all(a, Active)
	all(b, Backup)
	if err := Run(t.Context(), a[1]); !errors.Is(err, ErrRunning) {
		t.Errorf("a Router that runs: %v", err)
	}
}
