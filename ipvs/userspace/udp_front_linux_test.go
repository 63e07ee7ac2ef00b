package userspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/ipvs"
)

// TestUDPServicesComeAndGo adds and removes a service under load: its port is
// free at once, and another service does not notice.
func TestUDPServicesComeAndGo(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	d := directUDP(t, Config{}, "127.0.0.1", nil, a.addr)
	other := ipvs.Service{
		ID:           ipvs.ServiceID{Protocol: ipvs.UDP, Addr: freeUDP(t, "127.0.0.1")},
		Scheduler:    ipvs.RR,
		Destinations: []ipvs.Destination{udpDestination(b.addr)},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 2 {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(other.ID.Addr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		load.Go(func() {
			for ctx.Err() == nil {
				c.Write([]byte("?"))
			}
		})
	}
	c := d.client(t)
	for range 50 {
		if err := d.AddService(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, c, "?"); got != "a" {
			t.Fatalf("got %q", got)
		}
		before := b.count.Load()
		eventually(t, "the other service forwards", func() bool { return b.count.Load() > before })
		if err := d.RemoveService(t.Context(), other.ID); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	load.Wait()
	eventually(t, "the sessions of the removed service end", func() bool { return d.sessions() == 1 })
}

func TestUDPPortTaken(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprint("shared ", shared), func(t *testing.T) {
			var lc net.ListenConfig
			if shared {
				lc.Control = func(_, _ string, c syscall.RawConn) error {
					return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
				}
			}
			foreign, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer foreign.Close()
			d := directUDP(t, Config{}, "127.0.0.1", nil, named(t, "a").addr)
			s := d.s
			s.ID.Addr = foreign.LocalAddr().(*net.UDPAddr).AddrPort()
			if err := d.AddService(t.Context(), s); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("the port of another program: %v", err)
			}
		})
	}
}

// TestUDPRunsAgain ends Run with sessions, and begins again.
func TestUDPRunsAgain(t *testing.T) {
	d := directUDP(t, Config{}, "127.0.0.1", nil, named(t, "a").addr)
	c := d.client(t)
	for range 3 {
		ask(t, c, "?")
		d.end()
		if n := d.sessions(); n != 0 {
			t.Errorf("%d sessions are there after Run", n)
		}
		d.run(t)
	}
	ask(t, c, "?")
}

// TestUDPDrain lets sessions go on when Run is to end, and takes no new ones.
func TestUDPDrain(t *testing.T) {
	d := directUDP(t, Config{DrainTimeout: time.Minute}, "127.0.0.1", nil, named(t, "a").addr)
	old, young := d.client(t), d.client(t)
	ask(t, old, "?")
	ended := make(chan struct{})
	go func() {
		d.end()
		close(ended)
	}()
	eventually(t, "no new client is taken", func() bool {
		c := d.client(t)
		c.Write([]byte("?"))
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		return err != nil
	})
	young.Write([]byte("?"))
	for range 10 {
		if got := ask(t, old, "?"); got != "a" {
			t.Fatalf("got %q", got)
		}
	}
	select {
	case <-ended:
		t.Error("Run has ended with a session that was not silent")
	default:
	}
	<-ended // when the session has been silent
	d.run(t)
	ask(t, old, "?")
}

// TestUDPHandover has a successor take over under load: each question is
// answered, by one or the other.
func TestUDPHandover(t *testing.T) {
	server := echoUDP(t, "127.0.0.1")
	cfg := Config{Handover: filepath.Join(t.TempDir(), "handover"), DrainTimeout: time.Minute}
	first := openUDP(t, cfg, "127.0.0.1", nil, server.addr)
	done := make(chan error, 1)
	go func() { done <- first.Run(t.Context()) }()
	conns := make([]*net.UDPConn, 20)
	for i := range conns {
		conns[i] = first.client(t)
	}
	var asked, stop atomic.Int64
	var load sync.WaitGroup
	for i, c := range conns {
		load.Go(func() {
			for n := 0; stop.Load() == 0; n++ {
				question := fmt.Sprint(i, " ", n)
				c.Write([]byte(question))
				var buf [100]byte
				size, err := c.Read(buf[:])
				if err != nil || string(buf[:size]) != question {
					t.Errorf("client %d: %q came back as %q: %v", i, question, buf[:size], err)
					return
				}
				asked.Add(1)
			}
		})
	}
	advance := func(what string) {
		before := asked.Load()
		eventually(t, what, func() bool { return asked.Load() > before+1000 })
	}
	advance("the first forwards")
	second, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	advance("the first goes on")
	d := &director{Engine: second}
	d.run(t)
	advance("the second forwards")
	if err := <-done; !errors.Is(err, ErrSucceeded) {
		t.Errorf("the first has ended with %v", err)
	}
	if n := first.sessions(); n != 0 {
		t.Errorf("the first has %d sessions", n)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	advance("the second goes on")
	stop.Store(1)
	load.Wait()
	if got := inTable(second); got != len(conns) {
		t.Errorf("the second has %d sessions, want %d", got, len(conns))
	}
	d.end()
}
