package userspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/ipvs"
)

// ping exchanges one byte.
func ping(c net.Conn) error {
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func mustPing(t testing.TB, c net.Conn) {
	t.Helper()
	if err := ping(c); err != nil {
		t.Fatal(err)
	}
}

// TestTCPSlowReader has a client that reads nothing: what the Engine keeps for
// it is bounded, and others do not wait.
func TestTCPSlowReader(t *testing.T) {
	const size = 256 << 20
	var written atomic.Int64
	addr := serve(t, "127.0.0.1", func(c *net.TCPConn) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(c, first); err != nil {
			return
		}
		c.Write(first)
		if first[0] != '!' {
			return
		}
		chunk := make([]byte, 1<<20)
		for range size / len(chunk) {
			n, err := c.Write(chunk)
			written.Add(int64(n))
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	d := direct(t, Config{Workers: 1}, addr)
	slow := d.dial(t)
	slow.SetReadBuffer(64 << 10)
	slow.Write([]byte("!"))
	for last := int64(-1); last != written.Load() || last < 1<<20; time.Sleep(300 * time.Millisecond) {
		last = written.Load()
	}
	// The buffers of four sockets, 4 to 6 MB each at most, and a pipe.
	if n := written.Load(); n > 40<<20 {
		t.Errorf("the real server could send %d bytes that nobody reads", n)
	}
	c := d.dial(t)
	mustPing(t, c)
	if n, err := io.Copy(io.Discard, slow); n != size+1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestTCPIdleTimeout(t *testing.T) {
	d := direct(t, Config{}, serve(t, "127.0.0.1", echo))
	if err := d.SetTimeouts(t.Context(), ipvs.Timeouts{TCP: time.Second, TCPFin: time.Second}); err != nil {
		t.Fatal(err)
	}
	idle, busy := d.dial(t), d.dial(t)
	mustPing(t, idle)
	begin := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		isReset(t, idle)
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-time.After(100 * time.Millisecond):
			mustPing(t, busy)
		}
	}
	if took := time.Since(begin); took < 900*time.Millisecond {
		t.Errorf("cut after %v", took)
	}
	mustPing(t, busy)
}

// TestTCPHangingServer connects to a real server whose backlog is full: it
// answers no SYN.
func TestTCPHangingServer(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*unix.SockaddrInet4).Port))
	for range 10 {
		c, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err != nil {
			break
		}
		defer c.Close()
	}
	d := direct(t, Config{ConnectTimeout: time.Second}, addr)
	begin := time.Now()
	c := d.dial(t)
	c.Write([]byte("early"))
	isReset(t, c)
	if took := time.Since(begin); took < time.Second || took > 10*time.Second {
		t.Errorf("reset after %v", took)
	}
	gone := d.dial(t)
	eventually(t, "the connection is in the table", func() bool { return inTable(d.Engine) == 1 })
	gone.SetLinger(0)
	gone.Close()
	begin = time.Now()
	eventually(t, "it leaves the table", func() bool { return inTable(d.Engine) == 0 })
	if took := time.Since(begin); took > 500*time.Millisecond {
		t.Logf("it left after %v", took)
	}
}

// TestTCPResetAfterFin has a client that has closed, and says so to what comes
// then.
func TestTCPResetAfterFin(t *testing.T) {
	done := make(chan struct{})
	d := direct(t, Config{}, serve(t, "127.0.0.1", func(c *net.TCPConn) {
		defer close(done)
		io.Copy(io.Discard, c)
		for range 1000 {
			if _, err := c.Write([]byte("x")); err != nil {
				if !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
					t.Error(err)
				}
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Error("the real server has heard of no reset")
	}))
	c := d.dial(t)
	c.Write([]byte("x"))
	c.Close()
	<-done
}

func TestTCPWeightZero(t *testing.T) {
	addr := serve(t, "127.0.0.1", echo)
	d := direct(t, Config{}, addr)
	c := d.dial(t)
	mustPing(t, c)
	if err := d.UpdateDestination(t.Context(), d.id, ipvs.Destination{Addr: addr, Forward: ipvs.ForwardMasq}); err != nil {
		t.Fatal(err)
	}
	dialReset(t, d)
	mustPing(t, c)
}

func TestTCPRemoveService(t *testing.T) {
	d := direct(t, Config{}, serve(t, "127.0.0.1", echo))
	s, err := d.Service(t.Context(), d.id)
	if err != nil {
		t.Fatal(err)
	}
	service := s.Service
	for _, dest := range s.Destinations {
		service.Destinations = append(service.Destinations, dest.Destination)
	}
	for range 20 {
		c := d.dial(t)
		mustPing(t, c)
		if err := d.RemoveService(t.Context(), d.id); err != nil {
			t.Fatal(err)
		}
		if _, err := net.Dial("tcp", d.id.Addr.String()); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("a client of a service that is gone: %v", err)
		}
		isReset(t, c)
		if err := d.AddService(t.Context(), service); err != nil { // its port is free
			t.Fatal(err)
		}
	}
}

// TestTCPManyClients has 2,000 connections at once, and a table that changes.
func TestTCPManyClients(t *testing.T) {
	const clients = 2000
	addrs := []netip.AddrPort{serve(t, "127.0.0.1", echo), serve(t, "127.0.0.1", echo)}
	d := direct(t, Config{Workers: 4}, addrs...)
	stop := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		for weight := 1; ; weight = weight%5 + 1 {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			if err := d.UpdateDestination(t.Context(), d.id, ipvs.Destination{Addr: addrs[0], Forward: ipvs.ForwardMasq, Weight: weight}); err != nil {
				t.Error(err)
			}
			if _, err := d.Services(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	var asked, all sync.WaitGroup
	asked.Add(clients)
	for i := range clients {
		all.Go(func() {
			c, err := net.DialTimeout("tcp", d.id.Addr.String(), 30*time.Second)
			if err != nil {
				t.Error(err)
				asked.Done()
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(60 * time.Second))
			err = ping(c)
			asked.Done()
			asked.Wait()
			size := i * 50
			go c.Write(make([]byte, size))
			if err == nil {
				_, err = io.ReadFull(c, make([]byte, size))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	asked.Wait()
	if n := inTable(d.Engine); n != clients {
		t.Errorf("%d connections in the table", n)
	}
	all.Wait()
	close(stop)
	changing.Wait()
	eventually(t, "the table is empty", func() bool { return inTable(d.Engine) == 0 })
	s, err := d.Service(t.Context(), d.id)
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(clients + 50*clients*(clients-1)/2); s.Stats.InBytes != want || s.Stats.OutBytes != want || s.Stats.Connections != clients {
		t.Errorf("counted %+v, forwarded %d bytes each way", s.Stats, want)
	}
}

// TestTCPMaxConnections has more clients than there may be: they wait.
func TestTCPMaxConnections(t *testing.T) {
	var logged bytes.Buffer
	d := direct(t, Config{Workers: 2, MaxConnections: 10, Logger: testLogger(&logged)}, serve(t, "127.0.0.1", echo))
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			c, err := net.Dial("tcp", d.id.Addr.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(30 * time.Second))
			if err := ping(c); err != nil {
				t.Error(err)
			}
			if n := inTable(d.Engine); n > 10 {
				t.Errorf("%d connections in the table", n)
			}
		})
	}
	all.Wait()
	if n := bytes.Count(logged.Bytes(), []byte("no new connections are taken")); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestTCPRunAgain(t *testing.T) {
	e, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	d := &director{Engine: e, id: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: freeAddr(t, "127.0.0.1")}}
	s := ipvs.Service{ID: d.id, Scheduler: ipvs.RR, Destinations: []ipvs.Destination{{Addr: serve(t, "127.0.0.1", echo), Forward: ipvs.ForwardMasq, Weight: 1}}}
	if err := e.AddService(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	goroutines := runtime.NumGoroutine()
	for range 3 {
		c := d.dial(t) // it waits in the backlog
		d.run(t)
		mustPing(t, c)
		d.end()
		isReset(t, c)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func TestTCPDrain(t *testing.T) {
	d := direct(t, Config{DrainTimeout: time.Minute}, serve(t, "127.0.0.1", echo))
	c := d.dial(t)
	mustPing(t, c)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.end()
	}()
	eventually(t, "nothing new is taken", func() bool {
		new, err := net.Dial("tcp", d.id.Addr.String())
		if err != nil {
			return true
		}
		defer new.Close()
		new.SetDeadline(time.Now().Add(50 * time.Millisecond))
		return errors.Is(ping(new), os.ErrDeadlineExceeded)
	})
	mustPing(t, c)
	select {
	case <-ended:
		t.Fatal("Run has ended while a connection goes on")
	default:
	}
	c.Close()
	<-ended
}

func TestTCPCloseEndsRun(t *testing.T) {
	d := direct(t, Config{DrainTimeout: time.Hour}, serve(t, "127.0.0.1", echo))
	c := d.dial(t)
	mustPing(t, c)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	isReset(t, c)
	d.end()
}

func TestTCPPortTaken(t *testing.T) {
	d := direct(t, Config{}, serve(t, "127.0.0.1", echo))
	other, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = other.AddService(t.Context(), ipvs.Service{ID: d.id, Scheduler: ipvs.RR})
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second Engine has the port: %v", err)
	}
	t.Log(err)
}

func init() { children["few descriptors"] = fewDescriptors }

// TestTCPFewDescriptors runs an Engine that may have 60 descriptors and is told
// that this is enough for 1,000 connections: clients wait, and are all served.
func TestTCPFewDescriptors(t *testing.T) {
	addr := serve(t, "127.0.0.1", echo)
	vip := freeAddr(t, "127.0.0.1")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=few descriptors", "VIP="+vip.String(), "RS="+addr.String())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it listens", func() bool {
		c, err := net.Dial("tcp", vip.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	var all sync.WaitGroup
	for range 300 {
		all.Go(func() {
			c, err := net.Dial("tcp", vip.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(50 * time.Second))
			if err := ping(c); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		})
	}
	all.Wait()
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, out.Bytes())
	}
	if n := bytes.Count(out.Bytes(), []byte("no new connections are taken")); n == 0 || n > 3 {
		t.Errorf("logged %d times: %s", n, out.Bytes())
	}
}

func fewDescriptors() {
	err := func() error {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 60, Max: 60}); err != nil {
			return err
		}
		e, err := Open(Config{Workers: 2, MaxConnections: 1000, ConnectTimeout: 40 * time.Second, Logger: testLogger(os.Stdout)})
		if err != nil {
			return err
		}
		defer e.Close()
		err = e.AddService(context.Background(), ipvs.Service{
			ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort(os.Getenv("VIP"))}, Scheduler: ipvs.RR,
			Destinations: []ipvs.Destination{{Addr: netip.MustParseAddrPort(os.Getenv("RS")), Forward: ipvs.ForwardMasq, Weight: 1}},
		})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
		return e.Run(ctx)
	}()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
