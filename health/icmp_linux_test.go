package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
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
	for range 3 {
		crowd(t, p, 1000)
	}
	if stats := p.Stats(); stats != (PingerStats{Sent: 3000, Received: 3000}) {
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

// A process that was stopped finds, when it goes on, the deadline passed and the
// answer there.
func TestPingThatIsReadLate(t *testing.T) {
	l := labtest.New(t)
	host := labtest.Host(t, l, "host")
	for _, kind := range []int{unix.SOCK_RAW, unix.SOCK_DGRAM} {
		for _, to := range []string{"127.0.0.1", "::1"} {
			p := newPinger(t, PingerConfig{Source: Source{NetNS: host.Path()}})
			s := openEcho(t, host, p, netip.MustParseAddr(to), kind)
			w, err := s.enlist(netip.MustParseAddr(to), p.cfg.Size)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.conn.WriteTo(w.request(s), s.to(w.to)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
			var got error
			until(t, func() bool { got = s.await(ctx, w); return got == nil || !errors.Is(got, context.DeadlineExceeded) })
			if got != nil {
				t.Errorf("%s: got %v", to, got)
			}
			w2, err := s.enlist(netip.MustParseAddr(to), p.cfg.Size) // never sent
			if err != nil {
				t.Fatal(err)
			}
			if err := s.await(ctx, w2); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: nothing is there, but got %v", to, err)
			}
			cancel()
			s.conn.Close()
		}
	}
}

// openEcho opens a socket of a kind on a host.
func openEcho(t *testing.T, host *lab.Host, p *Pinger, to netip.Addr, kind int) *echoSocket {
	t.Helper()
	need.Program(t, "sysctl")
	labtest.Run(t, host, "sysctl", "-w", "net.ipv4.ping_group_range=0 "+fmt.Sprint(os.Getgid()))
	s := &echoSocket{pinger: p, six: to.Is6(), id: 77, lead: make(chan struct{}, 1), waiting: map[uint16]*waiter{}}
	if err := netns.Do(host.Path(), func() error { return s.openKind(p.cfg, kind) }); err != nil {
		t.Fatal(err)
	}
	return s
}

// Without the right to raw sockets, those for users serve, if the system lets us.
func TestPingWithoutRights(t *testing.T) {
	l := labtest.New(t)
	need.Program(t, "sysctl")
	host := labtest.Host(t, l, "host")
	try := func() (got [2]error) {
		if err := host.Do(func() error { // on a thread that ends with it
			hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var none [2]unix.CapUserData
			if err := unix.Capset(&hdr, &none[0]); err != nil {
				return err
			}
			p, err := NewPinger(PingerConfig{})
			if err != nil {
				return err
			}
			for i, to := range []string{"127.0.0.1", "::1"} {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				_, got[i] = p.Echo(netip.MustParseAddr(to)).Probe(ctx)
				cancel()
			}
			if got == [2]error{} && (p.four.raw || p.six.raw) {
				t.Error("the sockets are raw")
			}
			return p.Close()
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	labtest.Run(t, host, "sysctl", "-w", "net.ipv4.ping_group_range=1 0")
	for _, err := range try() {
		if !errors.Is(err, ErrInconclusive) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
			t.Errorf("not allowed: got %v", err)
		}
	}
	labtest.Run(t, host, "sysctl", "-w", "net.ipv4.ping_group_range=0 "+fmt.Sprint(os.Getgid()))
	for _, err := range try() {
		if err != nil {
			t.Errorf("allowed: got %v", err)
		}
	}
}

// A device that goes and comes back has another number: the socket is made anew.
func TestPingThroughADeviceThatComesBack(t *testing.T) {
	l := labtest.New(t)
	need.Program(t, "ip")
	a, b := labtest.Host(t, l, "a"), labtest.Host(t, l, "b")
	lan := labtest.Switch(t, l, "lan")
	labtest.Connect(t, a, lan)
	labtest.Connect(t, b, lan)
	add := func(h *lab.Host, addr string) {
		labtest.Run(t, h, "ip", "link", "add", "v0", "link", "eth0", "type", "macvlan", "mode", "bridge")
		labtest.Run(t, h, "ip", "addr", "add", addr, "dev", "v0")
		labtest.Run(t, h, "ip", "link", "set", "v0", "up")
	}
	add(a, "10.1.0.1/24")
	add(b, "10.1.0.2/24")
	p := newPinger(t, PingerConfig{Source: Source{NetNS: a.Path(), Device: "v0"}})
	to := p.Echo(netip.MustParseAddr("10.1.0.2"))
	eventually(t, to)
	labtest.Run(t, a, "ip", "link", "del", "v0")
	for range 3 {
		judge(t, to, verdict{"", ErrInconclusive})
	}
	add(a, "10.1.0.1/24")
	eventually(t, to)
}

func TestEchoFilterIsOfTheID(t *testing.T) {
	for _, six := range []bool{false, true} {
		s := &echoSocket{id: 0xabcd, six: six}
		if program := s.filter(); len(program) != 7 {
			t.Errorf("got %v", program)
		}
	}
	l := labtest.New(t)
	host := labtest.Host(t, l, "host")
	p, other := newPinger(t, PingerConfig{Source: Source{NetNS: host.Path()}}), newPinger(t, PingerConfig{Source: Source{NetNS: host.Path()}})
	for _, to := range []string{"127.0.0.1", "::1"} {
		judge(t, p.Echo(netip.MustParseAddr(to)), verdict{})
		judge(t, other.Echo(netip.MustParseAddr(to)), verdict{})
	}
	for _, s := range []*echoSocket{p.four, p.six} { // the other's answers are not in its socket
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		deadline, _ := ctx.Deadline()
		if err := s.conn.SetReadDeadline(deadline); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 100)
		if n, _, err := s.conn.ReadFrom(buf); err == nil && binary.BigEndian.Uint16(buf[4:]) != s.id {
			t.Errorf("got % x", buf[:n])
		}
		cancel()
	}
}

// BenchmarkPing is the cost of an echo of this machine itself, one at a time and many
// at once.
func BenchmarkPing(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := labtest.New(b)
			host := labtest.Host(b, l, "host")
			p := newPinger(b, PingerConfig{Source: Source{NetNS: host.Path()}})
			b.ReportAllocs()
			for b.Loop() {
				crowd(b, p, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/echo")
			if stats := p.Stats(); stats.Received != stats.Sent {
				b.Errorf("got %+v", stats)
			}
		})
	}
}
