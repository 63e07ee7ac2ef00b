package userspace

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/ipvs"
)

// TestTCPFewPorts has more clients than there are ports towards the real server,
// in a network namespace of their own: they wait.
func TestTCPFewPorts(t *testing.T) {
	h := labtest.Host(t, labtest.New(t), "box")
	l, err := h.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := serveOn(t, l, echo)
	e, err := Open(Config{NetNS: h.Path(), ConnectTimeout: 50 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	d := &director{Engine: e, id: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("10.9.8.7:80")}} // not there yet
	err = d.AddService(t.Context(), ipvs.Service{ID: d.id, Scheduler: ipvs.RR, Destinations: []ipvs.Destination{{Addr: addr, Forward: ipvs.ForwardMasq, Weight: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	d.run(t)
	defer d.end()
	if _, err := h.Run(t.Context(), "ip", "addr", "add", "10.9.8.7/32", "dev", "lo"); err != nil {
		t.Fatal(err)
	}
	if err := h.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40009"), 0o644)
	}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 25 {
		all.Go(func() {
			err := h.Do(func() error {
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000 + i}}
				c, err := dialer.DialContext(context.Background(), "tcp", d.id.Addr.String())
				if err != nil {
					return err
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(55 * time.Second))
				return ping(c)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestTCPChaos has clients and real servers that do anything at any time, and a
// table that changes. Nothing is left of it.
func TestTCPChaos(t *testing.T) {
	anything := func(c *net.TCPConn) {
		b := make([]byte, 200_000)
		c.SetDeadline(time.Now().Add(2 * time.Second))
		for {
			switch rand.IntN(12) {
			case 0, 1, 2:
				c.Write(b[:rand.IntN(100)])
			case 3, 4:
				c.Write(b[:rand.IntN(len(b))])
			case 5, 6, 7:
				c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if _, err := c.Read(b); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && err != io.EOF {
					return
				}
			case 8:
				c.CloseWrite()
			case 9:
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			case 10:
				return
			case 11:
				c.SetLinger(0)
				return
			}
		}
	}
	addrs := []netip.AddrPort{serve(t, "127.0.0.1", anything), serve(t, "127.0.0.1", anything), freeAddr(t, "127.0.0.1")}
	d := direct(t, Config{Workers: 3, MaxConnections: 40}, addrs...)
	end := time.Now().Add(3 * time.Second)
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			for time.Now().Before(end) {
				if c, err := net.Dial("tcp", d.id.Addr.String()); err == nil {
					anything(c.(*net.TCPConn))
					c.Close()
				}
			}
		})
	}
	for time.Now().Before(end) {
		dest := ipvs.Destination{Addr: addrs[0], Forward: ipvs.ForwardMasq, Weight: 1}
		if err := d.RemoveDestination(t.Context(), d.id, dest.Addr); err != nil {
			t.Error(err)
		}
		time.Sleep(30 * time.Millisecond)
		if err := d.AddDestination(t.Context(), d.id, dest); err != nil {
			t.Error(err)
		}
		time.Sleep(30 * time.Millisecond)
	}
	all.Wait()
	eventually(t, "the table is empty", func() bool { return inTable(d.Engine) == 0 })
	ws := d.plane.(*workers)
	if n := ws.limits.conns.Load(); n != 0 {
		t.Errorf("%d connections count still", n)
	}
}

// TestTCPFullIsIdle has clients that wait for room: nothing is done meanwhile.
func TestTCPFullIsIdle(t *testing.T) {
	d := direct(t, Config{Workers: 2, MaxConnections: 4}, serve(t, "127.0.0.1", echo))
	var inside []*net.TCPConn
	for range 4 {
		c := d.dial(t)
		mustPing(t, c)
		inside = append(inside, c)
	}
	var outside []*net.TCPConn
	for range 20 {
		c := d.dial(t)
		c.Write([]byte("?"))
		outside = append(outside, c)
	}
	before := processorTime(t)
	time.Sleep(time.Second) // nothing is awaited: it is what is done that counts
	if took := processorTime(t) - before; took > 100*time.Millisecond {
		t.Errorf("%v of processor time in a second without work", took)
	}
	for _, c := range inside {
		c.Close()
	}
	eventually(t, "all are served", func() bool {
		for i, c := range outside {
			c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
				c.Close()
				outside = append(outside[:i:i], outside[i+1:]...)
				break
			}
		}
		return len(outside) == 0
	})
}
