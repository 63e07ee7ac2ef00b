package userspace

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/ipvs"
)

func TestUDPTimeout(t *testing.T) {
	server := echoUDP(t, "127.0.0.1")
	d := directUDP(t, Config{}, "127.0.0.1", nil, server.addr)
	d.setTimeout(400 * time.Millisecond)
	c := d.client(t)
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		ask(t, c, "x")
	}
	if n := server.sources(); n != 1 {
		t.Errorf("a busy client had %d sessions", n)
	}
	eventually(t, "an idle session ends", func() bool { return d.sessions() == 0 && inTable(d.Engine) == 0 })
	ask(t, c, "x")
	if n := server.sources(); n != 2 {
		t.Errorf("the real server sees %d sessions, want another one", n)
	}
}

func TestUDPRemovedDestination(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	d := directUDP(t, Config{}, "127.0.0.1", nil, a.addr)
	conns := make([]*net.UDPConn, 50)
	for i := range conns {
		conns[i] = d.client(t)
		if got := ask(t, conns[i], "?"); got != "a" {
			t.Fatalf("got %q", got)
		}
	}
	if err := d.AddDestination(t.Context(), d.id, udpDestination(b.addr)); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, conns[0], "?"); got != "a" {
		t.Fatalf("the session has moved to %q", got)
	}
	if err := d.RemoveDestination(t.Context(), d.id, a.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sessions end", func() bool { return d.sessions() == 0 })
	for _, c := range conns {
		if got := ask(t, c, "?"); got != "b" {
			t.Fatalf("got %q", got)
		}
	}
}

func TestUDPDrainedDestination(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	d := directUDP(t, Config{}, "127.0.0.1", nil, a.addr)
	old := d.client(t)
	ask(t, old, "?")
	zero := udpDestination(a.addr)
	zero.Weight = 0
	if err := d.UpdateDestination(t.Context(), d.id, zero); err != nil {
		t.Fatal(err)
	}
	young := d.client(t)
	young.Write([]byte("?"))
	if !silent(t, young) {
		t.Error("a new client has got to a real server of weight 0")
	}
	if n := d.front().lost.unserved.Load(); n != 1 {
		t.Errorf("%d datagrams without a real server are counted", n)
	}
	if err := d.AddDestination(t.Context(), d.id, udpDestination(b.addr)); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, old, "?") + ask(t, young, "?"); got != "ab" {
		t.Errorf("got %q", got)
	}
}

func TestUDPOnePacket(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	d := directUDP(t, Config{}, "127.0.0.1", func(s *ipvs.Service) { s.Flags = ipvs.OnePacket }, a.addr, b.addr)
	c := d.client(t)
	got := map[string]int{}
	for range 100 {
		got[ask(t, c, "?")]++
	}
	if got["a"] != 50 || got["b"] != 50 {
		t.Errorf("the answers are %v", got)
	}
	if n := d.sessions(); n != 2 {
		t.Errorf("there are %d sockets", n)
	}
	if n := inTable(d.Engine); n != 0 {
		t.Errorf("%d connections are in the table", n)
	}
	st, err := d.Service(t.Context(), d.id)
	if err != nil || st.Stats.Connections != 100 || st.Stats.OutPackets != 100 {
		t.Errorf("the counters are %+v (%v)", st.Stats, err)
	}
}

func TestUDPPersistence(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	d := directUDP(t, Config{}, "127.0.0.1", func(s *ipvs.Service) { s.Persistence.Timeout = time.Minute }, a.addr, b.addr)
	first := ask(t, d.client(t), "?")
	for range 10 {
		if got := ask(t, d.client(t), "?"); got != first {
			t.Fatalf("the client has got to %q, and before to %q", got, first)
		}
	}
}

func TestUDPPersistenceByCallID(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	d := directUDP(t, Config{}, "127.0.0.1", func(s *ipvs.Service) {
		s.Persistence.Timeout, s.Flags = time.Minute, ipvs.OnePacket
	}, a.addr, b.addr)
	d.mu.Lock()
	d.services[d.id].Persistence.Engine = engineSIP
	d.mu.Unlock()
	for call := range 10 {
		question := fmt.Sprintf("INVITE sip:bob@example.com SIP/2.0\r\nCall-ID: %d@example.com\r\n\r\n", call)
		first := ask(t, d.client(t), question)
		for range 3 {
			if got := ask(t, d.client(t), question); got != first {
				t.Fatalf("call %d is with %q and %q", call, first, got)
			}
		}
	}
	c := d.client(t)
	c.Write([]byte("no call"))
	if !silent(t, c) {
		t.Error("a datagram without a Call-ID has got to a real server")
	}
}

func TestUDPServerGoneAndBack(t *testing.T) {
	server := named(t, "a")
	d := directUDP(t, Config{}, "127.0.0.1", nil, server.addr)
	c := d.client(t)
	ask(t, c, "?")
	server.stop()
	for range 3 {
		c.Write([]byte("?"))
		if !silent(t, c) {
			t.Fatal("there is an answer of a real server that is gone")
		}
	}
	if d.front().lost.reported.Load() == 0 {
		t.Error("no error is counted")
	}
	back := serveUDP(t, server.addr.String(), func([]byte) []byte { return []byte("back") })
	if got := ask(t, c, "?"); got != "back" {
		t.Errorf("got %q", got)
	}
	if back.sources() != 1 || d.sessions() != 1 {
		t.Error("the session did not go on")
	}
}

func TestUDPLimit(t *testing.T) {
	const most = 10
	var log logText
	d := directUDP(t, Config{MaxConnections: most, Workers: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))}, "127.0.0.1", nil, named(t, "a").addr)
	conns := make([]*net.UDPConn, 2*most)
	for i := range conns {
		conns[i] = d.client(t)
	}
	for _, c := range conns[:most] {
		ask(t, c, "?")
	}
	for _, c := range conns[most:] {
		c.Write([]byte("?"))
	}
	eventually(t, "those dropped are counted", func() bool { return d.front().lost.crowded.Load() == most })
	for _, c := range conns[:most] {
		ask(t, c, "?")
	}
	for _, c := range conns[most:] {
		c.SetReadDeadline(time.Now())
		if !silent(t, c) {
			t.Error("a client too many has got to a real server")
		}
	}
	if n := log.count("new udp clients are dropped"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	d.setTimeout(time.Millisecond)
	eventually(t, "the sessions end", func() bool { return d.sessions() == 0 })
	ask(t, conns[most], "?")
	if n := log.count("new udp clients are taken again"); n != 1 {
		t.Errorf("its end is logged %d times", n)
	}
}

func TestUDPProxyHeader(t *testing.T) {
	got := make(chan string, 10)
	server := serveUDP(t, "127.0.0.1:0", func(b []byte) []byte {
		got <- string(b)
		return []byte("ok")
	})
	d := directUDP(t, Config{Source: func(ipvs.ServiceID) Source { return SourceProxy }}, "127.0.0.1", nil, server.addr)
	c := d.client(t)
	ask(t, c, "one")
	ask(t, c, "two")
	client := c.LocalAddr().(*net.UDPAddr).AddrPort()
	if first, want := <-got, string(appendProxy(nil, client, d.id.Addr, false))+"one"; first != want {
		t.Errorf("the first datagram is %q, want %q", first, want)
	}
	if second := <-got; second != "two" {
		t.Errorf("the second datagram is %q", second)
	}
}

// TestUDPUnreachable has a real server to which there is no route.
func TestUDPUnreachable(t *testing.T) {
	l := labtest.New(t)
	h := labtest.Host(t, l, "box")
	var log logText
	e, err := Open(Config{NetNS: h.Path(), Workers: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := ipvs.Service{
		ID:           ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort("127.0.0.1:53")},
		Scheduler:    ipvs.RR,
		Destinations: []ipvs.Destination{udpDestination(netip.MustParseAddrPort("192.0.2.1:53"))},
	}
	if err := e.AddService(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	d := &director{Engine: e}
	d.run(t)
	defer d.end()
	c := onHost(t, h, "127.0.0.1:0")
	defer c.Close()
	for range 5 {
		if _, err := c.WriteTo([]byte("?"), net.UDPAddrFromAddrPort(s.ID.Addr)); err != nil {
			t.Fatal(err)
		}
	}
	lost := &e.services[s.ID].front.(*udpFront).lost
	eventually(t, "the datagrams are counted", func() bool { return lost.unreached.Load() == 5 })
	if n := inTable(e); n != 0 {
		t.Errorf("%d sessions are in the table", n)
	}
	if n := log.count("no route to it"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

// logText is what was logged.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), message)
}
