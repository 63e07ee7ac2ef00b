package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"golang.org/x/sys/unix"
)

// A square is a prober, a server, and a third who tries to answer in its place.
type square struct {
	prober, server, rogue *lab.Host
	link                  *lab.Link // of the server
	addr, addr6           netip.Addr
}

func newSquare(t *testing.T) square {
	t.Helper()
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	s := square{
		prober: labtest.Host(t, l, "prober"), server: labtest.Host(t, l, "server"), rogue: labtest.Host(t, l, "rogue"),
		addr: netip.MustParseAddr("10.0.0.9"), addr6: netip.MustParseAddr("2001:db8::9"),
	}
	labtest.Connect(t, s.prober, lan, "10.0.0.1/24", "10.0.0.2/24", "2001:db8::1/64")
	s.link = labtest.Connect(t, s.server, lan, "10.0.0.9/24", "2001:db8::9/64")
	labtest.Connect(t, s.rogue, lan, "10.0.0.6/24", "2001:db8::6/64")
	return s
}

func (s square) source() Source { return Source{NetNS: s.prober.Path()} }

func TestDNSOfDnsmasq(t *testing.T) {
	need.Program(t, "dnsmasq")
	s := newSquare(t)
	big := strings.Repeat(","+strings.Repeat("x", 200), 10)
	labtest.Start(t, s.server, "", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root",
		"--no-resolv", "--no-hosts", "--log-facility=-", "--local=/test/",
		"--host-record=www.test,10.0.0.80", "--cname=alias.test,www.test", "--txt-record=big.test"+big)
	p := func(name string, kind DNSType) DNS {
		return DNS{Addr: netip.AddrPortFrom(s.addr, 53), Source: s.source(), Name: name, Type: kind, Answer: true}
	}
	eventually(t, p("www.test", DNSTypeA))
	judge(t, p("WWW.Test.", DNSTypeA), verdict{})
	judge(t, p("alias.test", DNSTypeA), verdict{})
	judge(t, p("big.test", DNSTypeTXT), verdict{}) // truncated, then over TCP
	judge(t, p("www.test", DNSTypeMX), verdict{"no such record", nil})
	judge(t, p("absent.test", DNSTypeA), verdict{"NXDOMAIN", nil})
	judge(t, p("example.org", DNSTypeA), verdict{"REFUSED", nil})
	judge(t, DNS{Addr: netip.AddrPortFrom(s.addr, 53), Source: s.source()}, verdict{"REFUSED", nil}) // the root
	six := p("www.test", DNSTypeA)
	six.Addr = netip.AddrPortFrom(s.addr6, 53)
	eventually(t, six) // its address may still be tentative
	judge(t, six, verdict{})
	six.TCP = true
	judge(t, six, verdict{})

	elsewhere := p("www.test", DNSTypeA)
	elsewhere.Addr = netip.AddrPortFrom(s.addr, 54)
	time.Sleep(1500 * ms) // the server sends one a second, if many were asked of it before dnsmasq was there
	judge(t, elsewhere, verdict{"connection refused", nil})
	s.link.Down()
	judge(t, p("www.test", DNSTypeA), verdict{"no answer in time", context.DeadlineExceeded})
	s.link.Up()
	eventually(t, p("www.test", DNSTypeA))
}

// What comes from elsewhere than the server is not its answer, whatever it says; nor
// are guesses in its name.
func TestDNSThatIsSpoofed(t *testing.T) {
	s := newSquare(t)
	server, err := s.server.ListenPacket("udp", "10.0.0.9:53")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	other, err := s.server.ListenPacket("udp", "10.0.0.9:54") // the same host, another port
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	rogue, err := s.rogue.ListenPacket("udp", "10.0.0.6:53")
	if err != nil {
		t.Fatal(err)
	}
	defer rogue.Close()
	done := make(chan struct{})
	genuine := make(chan bool, 1)
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			answer := reply(t, buf[:n], nil)
			for _, c := range []net.PacketConn{other, rogue} {
				if _, err := c.WriteTo(answer, from); err != nil {
					t.Error(err)
				}
			}
			for guess := range 64 { // of the ID
				b := append([]byte(nil), answer...)
				b[1] ^= byte(guess) + 1
				if _, err := server.WriteTo(b, from); err != nil {
					t.Error(err)
				}
			}
			if <-genuine {
				_, _ = server.WriteTo(answer, from)
			}
		}
	}()
	p := ask
	p.Addr, p.Source = netip.MustParseAddrPort("10.0.0.9:53"), s.source()
	genuine <- false
	judge(t, p, verdict{"64 messages that are not the answer", context.DeadlineExceeded})
	genuine <- true
	judge(t, p, verdict{})
	server.Close()
	<-done
}

func TestUDPBetweenHosts(t *testing.T) {
	s := newSquare(t)
	server, err := s.server.ListenPacket("udp", "10.0.0.9:53")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p := UDP{Addr: netip.MustParseAddrPort("10.0.0.9:53"), Source: s.source(), Wait: 100 * time.Millisecond}
	judge(t, p, verdict{})
	p.Addr = netip.MustParseAddrPort("10.0.0.9:54")
	p.Wait = 20 * time.Second
	judge(t, p, verdict{"connection refused", nil})
	p.Addr = netip.MustParseAddrPort("[2001:db8::9]:54")
	until(t, func() bool { // its address may still be tentative
		_, err := p.Probe(t.Context())
		return errors.Is(err, unix.ECONNREFUSED)
	})
	judge(t, p, verdict{"connection refused", nil})
	p.Addr = netip.MustParseAddrPort("192.0.2.1:54")
	judge(t, p, verdict{"network is unreachable", nil})
	p.Source.Addr = netip.MustParseAddr("10.0.0.77")
	judge(t, p, verdict{"inconclusive", ErrInconclusive})
}

// A process that was stopped finds, when it goes on, the deadline passed and the
// answer there.
func TestDatagramsThatAreReadLate(t *testing.T) {
	asleep := func(t *testing.T, addr netip.AddrPort) datagrams {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		c, err := Source{}.dial(ctx, "udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			var fds []unix.PollFd
			err := c.(*socket).control(func(fd int) error {
				fds = []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
				_, err := unix.Poll(fds, 0)
				return err
			})
			if err == nil && fds[0].Revents != 0 && ctx.Err() != nil {
				return datagrams{conn: c, buf: make([]byte, 10)}
			}
			if time.Now().After(deadline) {
				t.Fatalf("nothing comes: %v", err)
			}
		}
	}
	answering := datagramServer(t, func([]byte) [][]byte { return [][]byte{[]byte("one"), nil, []byte("three")} })
	in := asleep(t, answering)
	got := ""
	for range 3 {
		b, err := in.next()
		if err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprintf("%q ", b)
	}
	if got != `"one" "" "three" ` {
		t.Errorf("got %s", got)
	}
	if _, err := in.next(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("at the end: got %v", err)
	}
	in = asleep(t, netip.MustParseAddrPort("127.0.0.1:9"))
	if _, err := in.next(); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("refused: got %v", err)
	}
}
