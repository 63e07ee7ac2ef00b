package userspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/ipvs"
)

// freeAddr is an address of loopback that nothing listens at.
func freeAddr(t testing.TB, host string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skip("no loopback address ", host)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// director is an Engine that runs with one service.
type director struct {
	*Engine
	id  ipvs.ServiceID
	end func() // of Run; waits for it
}

// direct runs an Engine whose service has these real servers.
func direct(t testing.TB, cfg Config, servers ...netip.AddrPort) *director {
	t.Helper()
	freeAddr(t, "127.0.0.1") // package net's own descriptors are there now
	before := descriptors(t)
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	host := "127.0.0.1"
	if servers[0].Addr().Is6() {
		host = "::1"
	}
	d := &director{Engine: e, id: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: freeAddr(t, host)}}
	s := ipvs.Service{ID: d.id, Scheduler: ipvs.RR}
	for _, addr := range servers {
		s.Destinations = append(s.Destinations, ipvs.Destination{Addr: addr, Forward: ipvs.ForwardMasq, Weight: 1})
	}
	if err := e.AddService(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	t.Cleanup(func() {
		d.end()
		if n := inTable(e); n != 0 {
			t.Errorf("%d connections are in the table after Run", n)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		eventually(t, "the descriptors are closed", func() bool { return descriptors(t) <= before })
	})
	return d
}

// run runs the Engine until end.
func (d *director) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	d.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (d *director) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", d.id.Addr.String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c.(*net.TCPConn)
}

// inTable is the number of connections that the table counts.
func inTable(e *Engine) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.services {
		for _, d := range s.dests {
			n += d.active + d.inactive
		}
	}
	return n
}

// descriptors is the number of those that are open.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

// serve is a real server that calls f for each connection.
func serve(t testing.TB, host string, f func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skip("no loopback address ", host)
	}
	return serveOn(t, l, f)
}

// serveOn is serve with a socket.
func serveOn(t testing.TB, l net.Listener, f func(*net.TCPConn)) netip.AddrPort {
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(60 * time.Second))
				f(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func echo(c *net.TCPConn) {
	io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // package net's splice would keep pipes
	c.CloseWrite()
}

func TestTCPEcho(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			d := direct(t, Config{}, serve(t, host, echo))
			c := d.dial(t)
			for range 3 {
				if _, err := c.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 5)
				if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
					t.Fatalf("%q, %v", got, err)
				}
			}
			c.CloseWrite()
			if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
				t.Fatalf("%q, %v", rest, err)
			}
			eventually(t, "the connection leaves the table", func() bool { return inTable(d.Engine) == 0 })
		})
	}
}

// TestTCPBulk sends much in both directions at once.
func TestTCPBulk(t *testing.T) {
	const size = 100 << 20
	sums := make(chan [32]byte, 1)
	exchange := func(c *net.TCPConn, seed byte) (received [32]byte, sent [32]byte) {
		var writing sync.WaitGroup
		writing.Go(func() {
			h := sha256.New()
			src := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{seed}), size), h)
			if _, err := io.CopyBuffer(struct{ io.Writer }{c}, src, make([]byte, 100_000)); err != nil {
				t.Error(err)
			}
			c.CloseWrite()
			h.Sum(sent[:0])
		})
		h := sha256.New()
		if n, err := io.Copy(h, c); err != nil || n != size {
			t.Errorf("%d bytes, %v", n, err)
		}
		h.Sum(received[:0])
		writing.Wait()
		return received, sent
	}
	sent := make(chan [32]byte, 1)
	d := direct(t, Config{}, serve(t, "127.0.0.1", func(c *net.TCPConn) {
		r, s := exchange(c, 1)
		sums <- r
		sent <- s
	}))
	received, mine := exchange(d.dial(t), 2)
	if theirs := <-sums; mine != theirs {
		t.Error("the real server got something else than what was sent")
	}
	if theirs := <-sent; received != theirs {
		t.Error("the client got something else than what was sent")
	}
}

func TestTCPHalfClose(t *testing.T) {
	t.Run("the client closes, and the real server answers", func(t *testing.T) {
		d := direct(t, Config{}, serve(t, "127.0.0.1", func(c *net.TCPConn) {
			request, _ := io.ReadAll(c)
			c.Write(append([]byte("got "), request...))
		}))
		c := d.dial(t)
		c.Write([]byte("question"))
		c.CloseWrite()
		if answer, err := io.ReadAll(c); err != nil || string(answer) != "got question" {
			t.Errorf("%q, %v", answer, err)
		}
	})
	t.Run("the real server closes, and the client goes on", func(t *testing.T) {
		got := make(chan string, 1)
		d := direct(t, Config{}, serve(t, "127.0.0.1", func(c *net.TCPConn) {
			c.Write([]byte("banner"))
			c.CloseWrite()
			rest, _ := io.ReadAll(c)
			got <- string(rest)
		}))
		c := d.dial(t)
		if banner, err := io.ReadAll(c); err != nil || string(banner) != "banner" {
			t.Fatalf("%q, %v", banner, err)
		}
		c.Write([]byte("still here"))
		c.CloseWrite()
		if rest := <-got; rest != "still here" {
			t.Errorf("%q", rest)
		}
	})
}

// isReset waits for the end of a connection, which must be a reset.
func isReset(t testing.TB, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the connection ended with %v, not with a reset", err)
	}
}

// dialReset is isReset for a connection that may not even begin.
func dialReset(t testing.TB, d *director) {
	t.Helper()
	c, err := net.Dial("tcp", d.id.Addr.String())
	if errors.Is(err, unix.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	isReset(t, c)
}

func TestTCPReset(t *testing.T) {
	t.Run("of the client", func(t *testing.T) {
		done := make(chan struct{})
		d := direct(t, Config{}, serve(t, "127.0.0.1", func(c *net.TCPConn) {
			c.Write([]byte("x"))
			isReset(t, c)
			close(done)
		}))
		c := d.dial(t)
		io.ReadFull(c, make([]byte, 1))
		c.SetLinger(0)
		c.Close()
		<-done
	})
	t.Run("of the real server", func(t *testing.T) {
		d := direct(t, Config{}, serve(t, "127.0.0.1", func(c *net.TCPConn) {
			io.ReadFull(c, make([]byte, 1))
			c.SetLinger(0)
		}))
		c := d.dial(t)
		c.Write([]byte("x"))
		isReset(t, c)
	})
	t.Run("refused", func(t *testing.T) {
		d := direct(t, Config{}, freeAddr(t, "127.0.0.1"))
		dialReset(t, d)
	})
	t.Run("no real server", func(t *testing.T) {
		addr := serve(t, "127.0.0.1", echo)
		d := direct(t, Config{}, addr)
		if err := d.RemoveDestination(t.Context(), d.id, addr); err != nil {
			t.Fatal(err)
		}
		dialReset(t, d)
	})
	t.Run("removed real server", func(t *testing.T) {
		addr := serve(t, "127.0.0.1", echo)
		d := direct(t, Config{}, addr)
		c := d.dial(t)
		c.Write([]byte("x"))
		io.ReadFull(c, make([]byte, 1))
		if err := d.RemoveDestination(t.Context(), d.id, addr); err != nil {
			t.Fatal(err)
		}
		isReset(t, c)
	})
	t.Run("the last words of the real server come before it", func(t *testing.T) {
		d := direct(t, Config{}, serve(t, "127.0.0.1", func(c *net.TCPConn) {
			io.ReadFull(c, make([]byte, 1))
			c.Write(make([]byte, 100_000)) // and what the client has sent is not read
		}))
		c := d.dial(t)
		c.Write(make([]byte, 5_000))
		if n, err := io.Copy(io.Discard, c); n != 100_000 {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// testLogger writes text.
func testLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
