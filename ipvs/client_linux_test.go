package ipvs

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

var background = context.Background()

// equalTables compares two tables in normal form, whatever their order.
func equalTables(t *testing.T, who string, got, want []Service) {
	t.Helper()
	index := make(map[ServiceID]Service, len(want))
	for _, s := range want {
		n := s.Normal()
		index[n.ID] = n
	}
	for _, s := range got {
		w, ok := index[s.ID]
		if !ok {
			t.Errorf("%s: unexpected or doubled %+v", who, s)
			continue
		}
		delete(index, s.ID)
		if !sameService(s, w) {
			t.Errorf("%s:\n got %+v\nwant %+v", who, s, w)
		}
	}
	for _, s := range index {
		t.Errorf("%s: missing %+v", who, s)
	}
}

// everyKind is a table with one of everything that the kernel takes.
func everyKind() []Service {
	var table []Service
	for i, s := range schedulers {
		if s != TWOS {
			table = append(table, Service{
				ID: tcpID(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 80).String()), Scheduler: s,
				Destinations: []Destination{viaMasq("10.0.0.1:8080", 1), viaMasq("10.0.0.2:8080", 2)},
			})
		}
	}
	return append(table,
		Service{ID: ServiceID{Protocol: TCP, Addr: addrPort("198.51.100.1:80")}, Scheduler: SH, Flags: SHFallback | SHPort},
		Service{ID: ServiceID{Protocol: TCP, Addr: addrPort("198.51.100.2:80")}, Scheduler: MH, Flags: MHFallback | MHPort},
		Service{ID: ServiceID{Protocol: UDP, Addr: addrPort("198.51.100.1:53")}, Scheduler: RR, Flags: OnePacket},
		Service{ID: ServiceID{Protocol: SCTP, Addr: addrPort("198.51.100.1:80")}, Scheduler: RR},
		Service{
			ID: ServiceID{Protocol: UDP, Addr: addrPort("198.51.100.1:5060")}, Scheduler: WLC,
			Persistence: Persistence{Timeout: 6 * time.Minute, Engine: "sip"},
		},
		Service{
			ID: tcpID("198.51.100.1:0"), Scheduler: WLC, Persistence: Persistence{Timeout: time.Second, Mask: 24},
			Destinations: []Destination{viaRoute("10.0.0.1:0", 1)},
		},
		Service{ID: tcpID("198.51.100.3:80"), Scheduler: WLC, Persistence: Persistence{Timeout: time.Second, Mask: MaskAll}},
		Service{ID: tcpID("[2001:db8::]:80"), Scheduler: WLC, Persistence: Persistence{Timeout: time.Hour, Mask: 64}},
		Service{ID: tcpID("[fd00::5]:80"), Scheduler: RR, Destinations: []Destination{
			viaRoute("[fd00::5]:80", 65537),
			viaMasq("[2001:db8::]:8080", 1<<31-1),
			{Addr: addrPort("10.0.0.1:80"), Forward: ForwardTunnel, Weight: 1},
		}},
		Service{ID: ServiceID{FWMark: 1<<32 - 1}, Scheduler: RR, Destinations: []Destination{viaRoute("10.0.0.1:0", 1)}},
		Service{ID: ServiceID{FWMark: 1, Family: IPv6}, Scheduler: RR, Destinations: []Destination{viaRoute("[fd00::1]:0", 1)}},
		Service{ID: ServiceID{FWMark: 1}, Scheduler: RR},
		Service{ID: tcpID("198.51.100.4:80"), Scheduler: RR, Destinations: []Destination{
			{Addr: addrPort("10.0.0.1:80"), Forward: ForwardTunnel},
			{Addr: addrPort("10.0.0.2:80"), Forward: ForwardTunnel, Tunnel: Tunnel{Type: GUE, Port: 6080}},
			{Addr: addrPort("10.0.0.3:80"), Forward: ForwardTunnel, Tunnel: Tunnel{Type: GUE, Port: 6081, Flags: TunnelCsum}},
			{Addr: addrPort("10.0.0.4:80"), Forward: ForwardTunnel, Tunnel: Tunnel{Type: GUE, Port: 65535, Flags: TunnelRemCsum}},
			{Addr: addrPort("10.0.0.5:80"), Forward: ForwardTunnel, Tunnel: Tunnel{Type: GRE}},
			{Addr: addrPort("10.0.0.6:80"), Forward: ForwardTunnel, Tunnel: Tunnel{Type: GRE, Flags: TunnelCsum}},
			{Addr: addrPort("[fd00::1]:80"), Forward: ForwardTunnel},
			{Addr: addrPort("127.0.0.1:80"), Forward: ForwardLocal, Weight: 1},
			{Addr: addrPort("10.0.0.7:80"), Weight: 1, Upper: 1 << 20, Lower: 5},
		}},
	)
}

func TestEveryKindIsReadBack(t *testing.T) {
	c, ns := kernel(t)
	want := everyKind()
	for _, s := range want {
		if err := c.AddService(background, s); err != nil {
			t.Error(err)
		}
	}
	equalTables(t, "Services", services(t, c), want)
	for _, s := range want {
		got, err := c.Service(background, s.ID)
		if err != nil || got.ID != s.ID || len(got.Destinations) != len(s.Destinations) {
			t.Errorf("Service(%v): %+v, %v", s.ID, got, err)
		}
	}
	saved, err := Parse(strings.NewReader(ipvsadm(t, ns, "-S", "-n")))
	must(t, err)
	for i := range want { // ipvsadm -S loses thresholds, and takes local for route
		for j := range want[i].Destinations {
			d := &want[i].Destinations[j]
			d.Upper, d.Lower = 0, 0
			if d.Forward == ForwardLocal {
				d.Forward = ForwardRoute
			}
		}
	}
	for i := range saved {
		saved[i] = saved[i].Normal()
	}
	equalTables(t, "ipvsadm -Sn", saved, want)
	made, err := c.Apply(background, everyKind(), Policy{Owns: OwnAll})
	if err != nil || len(made) != 0 {
		t.Errorf("Apply of what is there: %v, %v", made, err)
	}
}

func TestTWOS(t *testing.T) {
	c, _ := kernel(t)
	if need.KernelVersion(t) < 6012 {
		t.Skip("Debian's older kernels have no ip_vs_twos")
	}
	s := Service{ID: tcpID("192.0.2.1:80"), Scheduler: TWOS}
	must(t, c.AddService(background, s))
	equalTables(t, "Services", services(t, c), []Service{s})
}

func TestApplyReachesAnyTableFromAnyOther(t *testing.T) {
	c, _ := kernel(t)
	for seed := range uint64(60) {
		want := randomTable(rand.New(rand.NewPCG(seed, 2)), 12)
		plan, err := Plan(services(t, c), want, Policy{Owns: OwnAll})
		must(t, err)
		made, err := c.Apply(background, want, Policy{Owns: OwnAll})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(made) != len(plan) {
			t.Errorf("seed %d: made %d changes, planned %d", seed, len(made), len(plan))
		}
		equalTables(t, "Services", services(t, c), want)
		if made, err := c.Apply(background, want, Policy{Owns: OwnAll}); err != nil || len(made) != 0 {
			t.Errorf("seed %d: again %v, %v", seed, made, err)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	made, err := c.Apply(background, nil, Policy{})
	if err != nil || len(made) != 0 {
		t.Errorf("Apply of nothing that owns nothing: %v, %v", made, err)
	}
}

func TestEmptyTable(t *testing.T) {
	c, _ := kernel(t)
	list, err := c.Services(background)
	if err != nil || len(list) != 0 {
		t.Errorf("Services: %v, %v", list, err)
	}
	daemons, err := c.Daemons(background)
	if err != nil || len(daemons) != 0 {
		t.Errorf("Daemons: %v, %v", daemons, err)
	}
	for conn, err := range c.Connections(background) {
		t.Errorf("Connections: %v, %v", conn, err)
	}
	made, err := c.Apply(background, nil, Policy{Owns: OwnAll})
	if err != nil || len(made) != 0 {
		t.Errorf("Apply: %v, %v", made, err)
	}
	must(t, c.Flush(background))
	must(t, c.ZeroAll(background))
	info, err := c.Info(background)
	if err != nil || info.Version != (Version{1, 2, 1}) || info.ConnectionTableSize < 256 {
		t.Errorf("Info: %+v, %v", info, err)
	}
}

func TestTimeouts(t *testing.T) {
	c, ns := kernel(t)
	must(t, c.SetTimeouts(background, Timeouts{TCP: 20 * time.Minute, UDP: 2 * time.Minute}))
	before, err := c.Timeouts(background)
	must(t, err)
	if before.TCP != 20*time.Minute || before.UDP != 2*time.Minute || before.TCPFin == 0 {
		t.Errorf("%+v", before)
	}
	must(t, c.SetTimeouts(background, Timeouts{TCPFin: 33 * time.Second}))
	after, err := c.Timeouts(background)
	must(t, err)
	if want := (Timeouts{before.TCP, 33 * time.Second, before.UDP}); after != want {
		t.Errorf("%+v, want %+v", after, want)
	}
	m, err := newMoby(t, ns).GetConfig()
	if err != nil || m.TimeoutTCP != after.TCP || m.TimeoutTCPFin != after.TCPFin || m.TimeoutUDP != after.UDP {
		t.Errorf("moby reads %+v, %v", m, err)
	}
	for _, bad := range []time.Duration{-time.Second, time.Millisecond, 100 * 24 * time.Hour} {
		if err := c.SetTimeouts(background, Timeouts{UDP: bad}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	must(t, c.SetTimeouts(background, Timeouts{UDP: maxIdle}))
}

func TestClientIsSafeForConcurrentUse(t *testing.T) {
	c, _ := kernel(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			id := tcpID(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 80).String())
			for n := range 20 {
				s := Service{ID: id, Scheduler: RR, Destinations: []Destination{viaRoute("10.0.0.1:80", 1), viaRoute("10.0.0.2:80", n)}}
				_, err := c.Apply(background, []Service{s}, Policy{})
				got, err2 := c.Service(background, id)
				_, err3 := c.Info(background)
				if err := errors.Join(err, err2, err3); err != nil || len(got.Destinations) != 2 {
					t.Errorf("%v: %+v, %v", id, got, err)
					return
				}
				if n%2 == 1 {
					if err := c.RemoveService(background, id); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	if list := services(t, c); len(list) != 0 {
		t.Errorf("left over: %v", list)
	}
}

func TestClosedClient(t *testing.T) {
	c, _ := kernel(t)
	must(t, c.Close())
	must(t, c.Close())
	_, err := c.Services(background)
	_, err2 := c.Apply(background, everyKind(), Policy{})
	for _, err := range []error{err, err2, c.Flush(background), c.AddService(background, Service{ID: tcpID("192.0.2.1:80")})} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v", err)
		}
	}
	for _, err := range c.Connections(background) {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Connections: %v", err)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	_, ns := kernel(t)
	count := func() (descriptors, goroutines int) {
		list, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(list), runtime.NumGoroutine()
	}
	use := func() {
		c, err := Open(Config{NetNS: ns})
		must(t, err)
		ctx, cancel := context.WithCancel(background)
		_, err = c.Apply(ctx, everyKind(), Policy{})
		must(t, err)
		for range c.Connections(ctx) {
			break
		}
		cancel()
		must(t, c.Close())
	}
	use()
	descriptors, goroutines := count()
	for range 5 {
		use()
	}
	if d, g := count(); d > descriptors || g > goroutines {
		t.Errorf("%d descriptors and %d goroutines, were %d and %d", d, g, descriptors, goroutines)
	}
}

func TestEndedContext(t *testing.T) {
	c, _ := kernel(t)
	ended, cancel := context.WithCancel(background)
	cancel()
	_, err := c.Services(ended)
	_, err2 := c.Apply(ended, everyKind(), Policy{})
	for _, err := range []error{err, err2, c.Flush(ended)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	late, cancel := context.WithDeadline(background, time.Now().Add(-time.Second))
	defer cancel()
	if err := c.Flush(late); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	must(t, c.Flush(background))
}

// endsAfter is a context that ends when it has been asked n times.
type endsAfter struct {
	context.Context
	n atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.n.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestApplyEndsWithItsContext cuts a large Apply off and looks that what it
// said it had done is what was done.
func TestApplyEndsWithItsContext(t *testing.T) {
	c, _ := kernel(t)
	ctx := &endsAfter{Context: background}
	ctx.n.Store(20)
	made, err := c.Apply(ctx, benchTable(2000), Policy{})
	if !errors.Is(err, context.Canceled) || len(made) == 0 {
		t.Fatalf("%d changes, %v", len(made), err)
	}
	var n int
	for _, s := range services(t, c) {
		n += 1 + len(s.Destinations)
	}
	if n != len(made) {
		t.Errorf("made %d changes, the table has %d things", len(made), n)
	}
}

func TestEmptyNetNSIsThatOfTheThread(t *testing.T) {
	c, ns := kernel(t)
	must(t, c.AddService(background, Service{ID: tcpID("192.0.2.1:80")}))
	var here *Client
	must(t, netns.Do(ns, func() (err error) {
		here, err = Open(Config{})
		return err
	}))
	defer here.Close()
	// It stays there, on whatever thread, also when it has to dial again.
	here.drop(wide)
	if list := services(t, here); len(list) != 1 {
		t.Errorf("a client of the thread's namespace reads %v", list)
	}
	elsewhere, err := Open(Config{})
	must(t, err)
	defer elsewhere.Close()
	if slices.ContainsFunc(services(t, elsewhere), func(s Service) bool { return s.ID == tcpID("192.0.2.1:80") }) {
		t.Error("a client of another namespace reads it too")
	}
	_, err = Open(Config{NetNS: "/run/netns/there-is-none"})
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoModule) {
		t.Errorf("Open of a namespace that is not there: %v", err)
	}
}
