package userspace

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// udpDirector is an Engine that runs with one UDP service.
type udpDirector struct {
	*director
	s ipvs.Service
}

// directUDP runs an Engine with a service at a free port of the host. change may
// be nil.
func directUDP(t testing.TB, cfg Config, host string, change func(*ipvs.Service), servers ...netip.AddrPort) *udpDirector {
	t.Helper()
	d := openUDP(t, cfg, host, change, servers...)
	d.run(t)
	return d
}

// openUDP is directUDP that does not run yet.
func openUDP(t testing.TB, cfg Config, host string, change func(*ipvs.Service), servers ...netip.AddrPort) *udpDirector {
	t.Helper()
	listenUDPAt(t, "127.0.0.1:0").Close() // package net's own descriptors are there now
	before := descriptors(t)
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := &udpDirector{director: &director{Engine: e, end: func() {}}}
	d.s = ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.UDP, Addr: freeUDP(t, host)}, Scheduler: ipvs.RR}
	for _, addr := range servers {
		d.s.Destinations = append(d.s.Destinations, udpDestination(addr))
	}
	if change != nil {
		change(&d.s)
	}
	d.id = d.s.ID
	if err := e.AddService(t.Context(), d.s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.end()
		if n := inTable(e); n != 0 {
			t.Errorf("%d sessions are in the table after Run", n)
		}
		if n := e.plane.(*workers).limits.conns.Load(); n != 0 {
			t.Errorf("%d sessions are counted after Run", n)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		eventually(t, "the descriptors are closed", func() bool { return descriptors(t) <= before })
	})
	return d
}

func udpDestination(addr netip.AddrPort) ipvs.Destination {
	return ipvs.Destination{Addr: addr, Forward: ipvs.ForwardMasq, Weight: 1}
}

// front is that of the service.
func (d *udpDirector) front() *udpFront {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.services[d.id].front.(*udpFront)
}

// sessions is how many there are.
func (d *udpDirector) sessions() int { return int(d.plane.(*workers).limits.conns.Load()) }

func (d *udpDirector) setTimeout(timeout time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timeouts.UDP = timeout
}

// client is a socket that is connected to the service.
func (d *udpDirector) client(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(d.id.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}

func freeUDP(t testing.TB, host string) netip.AddrPort {
	t.Helper()
	c := listenUDPAt(t, net.JoinHostPort(host, "0"))
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func listenUDPAt(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Skip("no loopback address ", addr)
	}
	return c.(*net.UDPConn)
}

// udpServer is a real server.
type udpServer struct {
	addr    netip.AddrPort
	clients sync.Map // netip.AddrPort of those who have sent something
	count   atomic.Int64
	stop    func()
}

// serveUDP answers with what f makes of a datagram, or nothing if that is nil.
func serveUDP(t testing.TB, addr string, f func([]byte) []byte) *udpServer {
	t.Helper()
	return serveUDPBy(t, listenUDPAt(t, addr), f)
}

func serveUDPBy(t testing.TB, c *net.UDPConn, f func([]byte) []byte) *udpServer {
	c.SetReadBuffer(4 << 20)
	s := &udpServer{addr: c.LocalAddr().(*net.UDPAddr).AddrPort()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			s.count.Add(1)
			s.clients.Store(from, true)
			if answer := f(buf[:n]); answer != nil {
				c.WriteToUDPAddrPort(answer, from)
			}
		}
	}()
	s.stop = sync.OnceFunc(func() {
		c.Close()
		<-done
	})
	t.Cleanup(s.stop)
	return s
}

func echoUDP(t testing.TB, host string) *udpServer {
	return serveUDP(t, net.JoinHostPort(host, "0"), func(b []byte) []byte { return b })
}

// named answers with a name.
func named(t testing.TB, name string) *udpServer {
	return serveUDP(t, "127.0.0.1:0", func([]byte) []byte { return []byte(name) })
}

// sources is how many clients the real server has seen.
func (s *udpServer) sources() (n int) {
	s.clients.Range(func(any, any) bool { n++; return true })
	return n
}

// ask sends a datagram and returns the answer.
func ask(t testing.TB, c *net.UDPConn, question string) string {
	t.Helper()
	if _, err := c.Write([]byte(question)); err != nil {
		t.Fatal(err)
	}
	return hear(t, c)
}

func hear(t testing.TB, c *net.UDPConn) string {
	t.Helper()
	var buf [1 << 16]byte
	n, err := c.Read(buf[:])
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// silent tells whether nothing comes for a while.
func silent(t testing.TB, c *net.UDPConn) bool {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	defer c.SetReadDeadline(time.Now().Add(60 * time.Second))
	_, err := c.Read(make([]byte, 1))
	return err != nil
}

var loopbacks = []string{"127.0.0.1", "::1"}

func TestUDPEcho(t *testing.T) {
	for _, host := range loopbacks {
		t.Run(host, func(t *testing.T) {
			server := echoUDP(t, host)
			d := directUDP(t, Config{}, host, nil, server.addr)
			c := d.client(t)
			for i := range 100 {
				question := fmt.Sprint("hello ", i)
				if got := ask(t, c, question); got != question {
					t.Fatalf("%q came back as %q", question, got)
				}
			}
			if n := server.sources(); n != 1 {
				t.Errorf("the real server sees %d clients", n)
			}
			st, err := d.Service(t.Context(), d.id)
			if err != nil {
				t.Fatal(err)
			}
			overhead := uint64(28)
			if host == "::1" {
				overhead = 48
			}
			bytes := 100*overhead + 10*7 + 90*8
			if got := st.Stats; got.Connections != 1 || got.InPackets != 100 || got.OutPackets != 100 || got.InBytes != bytes || got.OutBytes != bytes {
				t.Errorf("the counters are %+v", got)
			}
			if got := st.Destinations[0]; got.Inactive != 1 || got.Active != 0 {
				t.Errorf("the destination is %+v", got)
			}
		})
	}
}

func TestUDPManyClients(t *testing.T) {
	const clients, rounds = 1000, 5
	servers := []*udpServer{echoUDP(t, "127.0.0.1"), echoUDP(t, "127.0.0.1"), echoUDP(t, "127.0.0.1")}
	d := directUDP(t, Config{MaxConnections: clients}, "127.0.0.1", nil, servers[0].addr, servers[1].addr, servers[2].addr)
	conns := make([]*net.UDPConn, clients)
	for i := range conns {
		conns[i] = d.client(t)
	}
	var all sync.WaitGroup
	for part := range 4 {
		all.Go(func() {
			for round := range rounds {
				for i := part; i < clients; i += 4 {
					question := fmt.Sprint(i, " ", round)
					if got := ask(t, conns[i], question); got != question {
						t.Errorf("client %d: %q came back as %q", i, question, got)
					}
				}
			}
		})
	}
	all.Wait()
	sum := 0
	for _, s := range servers {
		n := s.sources()
		if n < clients/3 {
			t.Errorf("a real server has %d clients", n)
		}
		sum += n
	}
	if n := d.sessions(); n != clients || sum != clients {
		t.Errorf("%d clients have %d sessions, and are %d for the real servers", clients, n, sum)
	}
}

// exhaustive has TestUDPEverySize leave nothing out.
const exhaustive = "LVSKIT_EXHAUSTIVE"

func TestUDPEverySize(t *testing.T) {
	for _, host := range loopbacks {
		t.Run(host, func(t *testing.T) {
			d := directUDP(t, Config{}, host, nil, echoUDP(t, host).addr)
			c := d.client(t)
			data := make([]byte, 1<<16)
			rand.NewChaCha8([32]byte{1}).Read(data)
			most := 65507
			if host == "::1" {
				most = 65527
			}
			got := make([]byte, 1<<16)
			for size := 0; size <= most; size++ {
				if size > 3000 && size < most-100 && size%37 != 0 && os.Getenv(exhaustive) == "" {
					continue
				}
				sent := data[most-size : most]
				if _, err := c.Write(sent); err != nil {
					t.Fatal(size, err)
				}
				n, err := c.Read(got)
				if err != nil || !bytes.Equal(got[:n], sent) {
					t.Fatalf("%d bytes came back as %d, or others: %v", size, n, err)
				}
			}
		})
	}
}

// TestUDPMixedBatch has the datagrams of many clients in the socket before Run.
func TestUDPMixedBatch(t *testing.T) {
	const clients, each = 40, 25
	server := echoUDP(t, "127.0.0.1")
	d := openUDP(t, Config{Workers: 1}, "127.0.0.1", nil, server.addr)
	conns := make([]*net.UDPConn, clients)
	for i := range conns {
		conns[i] = d.client(t)
	}
	for n := range each {
		for i, c := range conns {
			if _, err := fmt.Fprint(c, i, " ", n); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.run(t)
	for i, c := range conns {
		for n := range each {
			if got, want := hear(t, c), fmt.Sprint(i, " ", n); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	}
	if n := server.sources(); n != clients {
		t.Errorf("the real server sees %d clients", n)
	}
}

func TestUDPAnswersFromTheVirtualAddress(t *testing.T) {
	d := directUDP(t, Config{}, "127.0.0.77", nil, echoUDP(t, "127.0.0.1").addr)
	c := listenUDPAt(t, "127.0.0.5:0")
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.WriteToUDPAddrPort([]byte("x"), d.id.Addr); err != nil {
		t.Fatal(err)
	}
	_, from, err := c.ReadFromUDPAddrPort(make([]byte, 10))
	if err != nil || from != d.id.Addr {
		t.Errorf("the answer is from %s (%v), want %s", from, err, d.id.Addr)
	}
}
