package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
	"golang.org/x/sys/unix"
)

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
	passes := func() { // the first may be lost, and not be worth a wait
		t.Helper()
		until(t, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), probeTimeout)
			defer cancel()
			_, err := to.Probe(ctx)
			return err == nil
		})
	}
	passes()
	labtest.Run(t, a, "ip", "link", "del", "v0")
	for range 3 {
		judge(t, to, verdict{"", ErrInconclusive})
	}
	add(a, "10.1.0.1/24")
	passes()
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
