package ipvs

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/netns"
)

// echo serves one connection after another on addr in the namespace.
func echo(t *testing.T, path, addr string) {
	t.Helper()
	var l net.Listener
	must(t, netns.Do(path, func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	}))
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(conn, conn)
			conn.Close()
		}
	}()
}

// talk opens a connection to a virtual service, and sends n bytes there and
// back.
func talk(t *testing.T, path, addr string, n int) net.Conn {
	t.Helper()
	var conn net.Conn
	must(t, netns.Do(path, func() (err error) {
		conn, err = net.DialTimeout("tcp", addr, 20*time.Second)
		return err
	}))
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err := conn.Write(make([]byte, n))
	must(t, err)
	_, err = io.ReadFull(conn, make([]byte, n))
	must(t, err)
	return conn
}

func TestConnectionsAndStatistics(t *testing.T) {
	c, ns := kernel(t)
	addDummy(t, ns, "vip0", "198.51.100.1/32", "2001:db8::1/128")
	echo(t, ns, "127.0.0.1:8080")
	echo(t, ns, "[::1]:8080")
	v4, v6 := tcpID("198.51.100.1:80"), tcpID("[2001:db8::1]:80")
	persistent := Persistence{Timeout: time.Minute, Mask: 24}
	must(t, c.AddService(background, Service{ID: v4, Scheduler: RR, Persistence: persistent, Destinations: []Destination{viaMasq("127.0.0.1:8080", 1)}}))
	must(t, c.AddService(background, Service{ID: v6, Scheduler: RR, Destinations: []Destination{viaMasq("[::1]:8080", 1)}}))
	conn4 := talk(t, ns, "198.51.100.1:80", 1000)
	conn6 := talk(t, ns, "[2001:db8::1]:80", 1000)

	var list []Connection
	for conn, err := range c.Connections(background) {
		must(t, err)
		if conn.Origin != OriginLocal {
			t.Errorf("%+v is not local", conn)
		}
		if conn.Expires <= 0 || conn.Expires > time.Hour {
			t.Errorf("%+v expires oddly", conn)
		}
		conn.Expires = 0
		list = append(list, conn)
	}
	local := func(c net.Conn) netip.AddrPort { return c.LocalAddr().(*net.TCPAddr).AddrPort() }
	for _, want := range []Connection{
		{
			Protocol: TCP, Client: local(conn4), Virtual: v4.Addr, Destination: addrPort("127.0.0.1:8080"),
			State: StateEstablished, Origin: OriginLocal,
		},
		{
			Protocol: TCP, Client: local(conn6), Virtual: v6.Addr, Destination: addrPort("[::1]:8080"),
			State: StateEstablished, Origin: OriginLocal,
		},
	} {
		if !slices.Contains(list, want) {
			t.Errorf("missing %+v in\n%+v", want, list)
		}
	}
	if n := slices.IndexFunc(list, Connection.Template); n < 0 || list[n].Virtual != v4.Addr || len(list) != 3 {
		t.Errorf("want a template and two connections: %+v", list)
	}

	var s ServiceStatus
	for range 100 { // counters move every two seconds
		var err error
		s, err = c.Service(background, v4)
		must(t, err)
		if s.Stats.OutBytes >= 1000 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	d := s.Destinations[0]
	if s.Stats.Connections != 1 || s.Stats.InBytes < 1000 || s.Stats.OutBytes < 1000 || s.Stats.InPackets < 3 || s.Stats.OutPackets < 2 ||
		s.Stats.InByteRate == 0 || d.Stats.Connections != 1 || d.Active != 1 || d.Inactive != 0 || d.Persistent != 1 {
		t.Errorf("%+v", s)
	}
	must(t, c.Zero(background, v4))
	s, err := c.Service(background, v4)
	other, err2 := c.Service(background, v6)
	if err != nil || err2 != nil || s.Stats.Connections != 0 || s.Destinations[0].Stats.InBytes != 0 || other.Stats.Connections != 1 {
		t.Errorf("after Zero: %+v, %v, and the other %+v, %v", s, err, other.Stats, err2)
	}
	must(t, c.ZeroAll(background))
	if other, err = c.Service(background, v6); err != nil || other.Stats.Connections != 0 {
		t.Errorf("after ZeroAll: %+v, %v", other, err)
	}
}

// TestConnectionsOfTheOtherFamily lists what a mixed-family tunnel makes of a
// client that gets no answer.
func TestConnectionsOfTheOtherFamily(t *testing.T) {
	c, ns := kernel(t)
	addDummy(t, ns, "vip0", "2001:db8::1/128", "10.9.0.1/24")
	must(t, c.AddService(background, Service{ID: tcpID("[2001:db8::1]:80"), Scheduler: RR, Destinations: []Destination{
		{Addr: addrPort("10.9.0.2:80"), Forward: ForwardTunnel, Weight: 1},
	}}))
	must(t, netns.Do(ns, func() error {
		if conn, err := net.DialTimeout("tcp", "[2001:db8::1]:80", 500*time.Millisecond); err == nil {
			conn.Close()
		}
		return nil
	}))
	for conn, err := range c.Connections(background) {
		must(t, err)
		if conn.Destination == addrPort("10.9.0.2:80") && conn.Virtual == addrPort("[2001:db8::1]:80") && conn.State == StateSynRecv {
			return
		}
	}
	t.Error("there is no such connection")
}

func TestConnectionsStopsWhenTold(t *testing.T) {
	c, ns := kernel(t)
	addDummy(t, ns, "vip0", "198.51.100.1/32")
	echo(t, ns, "127.0.0.1:8080")
	must(t, c.AddService(background, Service{ID: tcpID("198.51.100.1:80"), Scheduler: RR, Destinations: []Destination{viaMasq("127.0.0.1:8080", 1)}}))
	for range 5 {
		talk(t, ns, "198.51.100.1:80", 1).Close()
	}
	n := 0
	for _, err := range c.Connections(background) {
		must(t, err)
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d connections", n)
	}
}
