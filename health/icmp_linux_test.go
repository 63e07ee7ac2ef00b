package health

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

func newPinger(t testing.TB, cfg PingerConfig) *Pinger {
	t.Helper()
	p, err := NewPinger(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestPingBetweenHosts(t *testing.T) {
	s := newSquare(t)
	for name, cfg := range map[string]PingerConfig{
		"plainly":                {},
		"by a source address":    {Source: Source{Addr: netip.MustParseAddr("10.0.0.2")}},
		"by a device":            {Source: Source{Device: "eth0"}},
		"with a mark":            {Source: Source{Mark: 7}},
		"with the least data":    {Size: 16},
		"in fragments":           {Size: 65000},
		"to the next host alone": {TTL: 1},
	} {
		cfg.Source.NetNS = s.prober.Path()
		p := newPinger(t, cfg)
		eventually(t, p.Echo(s.addr))
		judge(t, p.Echo(s.addr), verdict{})
		if !cfg.Source.Addr.IsValid() {
			eventually(t, p.Echo(s.addr6)) // its address may still be tentative
			judge(t, p.Echo(s.addr6), verdict{})
		}
		if stats := p.Stats(); stats.Received < 2 || stats.Dropped != 0 {
			t.Errorf("%s: got %+v", name, stats)
		}
	}
	p := newPinger(t, PingerConfig{Source: s.source()})
	local := linkLocal(s.link.MAC())
	eventually(t, p.Echo(local.WithZone("eth0")))
	judge(t, p.Echo(local), verdict{"needs a zone", ErrInconclusive})
	judge(t, p.Echo(local.WithZone("eth7")), verdict{"zone eth7", ErrInconclusive})

	timeout := verdict{"no answer in time", context.DeadlineExceeded}
	judge(t, p.Echo(netip.MustParseAddr("10.0.0.200")), timeout)
	judge(t, p.Echo(netip.MustParseAddr("192.0.2.1")), verdict{"network is unreachable", unix.ENETUNREACH})
	s.link.Down()
	judge(t, p.Echo(s.addr), timeout)
	judge(t, p.Echo(s.addr6), timeout)
	s.link.Up()
	eventually(t, p.Echo(s.addr))

	for text, source := range map[string]Source{
		"does not have the address": {NetNS: s.prober.Path(), Addr: netip.MustParseAddr("10.0.0.77")},
		"send through eth7":         {NetNS: s.prober.Path(), Device: "eth7"},
		"open network namespace":    {NetNS: "/nowhere"},
	} {
		judge(t, newPinger(t, PingerConfig{Source: source}).Echo(s.addr), verdict{text, ErrInconclusive})
	}
}

// crowd asks that many addresses of the host itself at once.
func crowd(t testing.TB, p *Pinger, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		addr := netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, err := p.Echo(addr).Probe(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A thousand at once share one socket, and each has its own answer.
func TestPingOfManyAtOnce(t *testing.T) {
	l := labtest.New(t)
	host := labtest.Host(t, l, "host")
	p := newPinger(t, PingerConfig{Source: Source{NetNS: host.Path()}})
	rounds := 3
	if need.Emulated() {
		rounds = 1
	}
	for range rounds {
		crowd(t, p, 1000)
	}
	if stats, all := p.Stats(), uint64(rounds)*1000; stats != (PingerStats{Sent: all, Received: all}) {
		t.Errorf("got %+v", stats)
	}
	if p.six != nil || len(p.four.waiting) != 0 || len(p.four.lead) != 0 {
		t.Error("something is left")
	}
}

// forger answers echo requests to a host, as answers has it, in the place of its
// kernel.
func forger(t *testing.T, s square, answers func(echo icmp.Echo, say func(by net.PacketConn, e icmp.Echo))) {
	t.Helper()
	need.Program(t, "sysctl")
	labtest.Run(t, s.server, "sysctl", "-w", "net.ipv4.icmp_echo_ignore_all=1")
	listen := func(h *lab.Host) net.PacketConn {
		c, err := h.ListenPacket("ip4:icmp", "0.0.0.0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	server, rogue := listen(s.server), listen(s.rogue)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			m, err := icmp.ParseMessage(1, buf[:n])
			e, ok := m.Body.(*icmp.Echo)
			if err != nil || !ok || m.Type != ipv4.ICMPTypeEcho {
				continue
			}
			answers(*e, func(by net.PacketConn, e icmp.Echo) {
				if by == nil {
					by = rogue
				} else {
					by = server
				}
				b, err := (&icmp.Message{Type: ipv4.ICMPTypeEchoReply, Body: &e}).Marshal(nil)
				if err != nil {
					t.Error(err)
				}
				if _, err := by.WriteTo(b, from); err != nil {
					t.Error(err)
				}
			})
		}
	}()
	t.Cleanup(func() { server.Close(); <-done })
}

// Answers that are forged, or late, or come twice, are none, and are counted.
func TestPingThatIsSpoofed(t *testing.T) {
	s := newSquare(t)
	var genuine func() bool
	truth := make(chan bool, 100)
	genuine = func() bool { return <-truth }
	var last icmp.Echo
	forger(t, s, func(e icmp.Echo, say func(net.PacketConn, icmp.Echo)) {
		server := net.PacketConn(&net.IPConn{}) // any but nil
		data := func(change func([]byte) []byte) []byte { return change(append([]byte(nil), e.Data...)) }
		say(nil, e) // 1: the rogue, who has heard all
		say(server, icmp.Echo{ID: e.ID ^ 1, Seq: e.Seq, Data: e.Data})
		say(server, icmp.Echo{ID: e.ID, Seq: e.Seq + 1, Data: e.Data})                                          // 2
		say(server, icmp.Echo{ID: e.ID, Seq: e.Seq, Data: data(func(b []byte) []byte { b[3]++; return b })})    // 3
		say(server, icmp.Echo{ID: e.ID, Seq: e.Seq, Data: data(func(b []byte) []byte { return b[:len(b)-1] })}) // 4
		say(server, icmp.Echo{ID: e.ID, Seq: e.Seq, Data: data(func(b []byte) []byte { return append(b, 0) })}) // 5
		say(server, icmp.Echo{ID: e.ID, Seq: e.Seq})                                                            // 6
		if last.Data != nil {
			say(server, last) // 7, of the second
		}
		last = e
		last.Data = append([]byte(nil), e.Data...)
		if genuine() {
			say(server, e)
			say(server, e) // one too many
		}
	})
	p := newPinger(t, PingerConfig{Source: s.source()})
	truth <- false
	judge(t, p.Echo(s.addr), verdict{"no answer in time", context.DeadlineExceeded})
	if got, want := p.Stats(), (PingerStats{Sent: 1, Dropped: 6}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	truth <- true
	judge(t, p.Echo(s.addr), verdict{})
	truth <- true
	judge(t, p.Echo(s.addr), verdict{}) // which also reads what was one too many
	got := p.Stats()
	// Of the last, what comes after the answer is not read any more.
	if got.Sent != 3 || got.Received != 2 || got.Dropped < 6+7+1+7 || got.Dropped > 6+8+8 {
		t.Errorf("got %+v", got)
	}
}

// The probe that reads for all may end, by its answer, its deadline, or a
// cancellation: the others go on.
func TestPingAfterItsLeader(t *testing.T) {
	s := newSquare(t)
	hold := make(chan struct{})
	arrived := make(chan struct{}, 10)
	var held []func()
	forger(t, s, func(e icmp.Echo, say func(net.PacketConn, icmp.Echo)) {
		e.Data = append([]byte(nil), e.Data...)
		held = append(held, func() { say(&net.IPConn{}, e) })
		arrived <- struct{}{}
		if len(held) == 3 {
			<-hold
			held[2]() // the first two have no answer
		}
	})
	p := newPinger(t, PingerConfig{Source: s.source()})
	probe := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := p.Echo(s.addr).Probe(ctx)
			done <- err
		}()
		return done
	}
	leads := func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.four != nil && len(p.four.lead) == 1 }
	sent := func(n uint64) func() bool { return func() bool { return p.Stats().Sent == n } }
	first, cancel := context.WithCancel(t.Context())
	one := probe(first)
	until(t, leads)
	second, end := context.WithTimeout(t.Context(), time.Second)
	defer end()
	two := probe(second)
	until(t, sent(2))
	long, finish := context.WithTimeout(t.Context(), time.Minute)
	defer finish()
	three := probe(long)
	until(t, sent(3))
	for range 3 {
		<-arrived
	}
	cancel()
	if err := <-one; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrInconclusive) {
		t.Errorf("the first: got %v", err)
	}
	if err := <-two; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second: got %v", err)
	}
	close(hold)
	if err := <-three; err != nil {
		t.Errorf("the third: got %v", err)
	}
	four := probe(long) // has no answer
	until(t, sent(4))
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-four; !errors.Is(err, net.ErrClosed) || !errors.Is(err, ErrInconclusive) {
		t.Errorf("closed: got %v", err)
	}
}

// until waits for a condition.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to that")
		}
	}
}
