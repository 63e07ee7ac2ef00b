package userspace

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lvskit/lvskit/ipvs"
)

// from schedules a connection of a client, and tells who gets it.
func (p *script) from(client string) *connection {
	p.t.Helper()
	if !strings.Contains(client, ":") {
		p.n++
		client = netip.AddrPortFrom(netip.MustParseAddr(client), uint16(1024+p.n)).String()
	}
	return p.s.admit(flow{client: netip.MustParseAddrPort(client), virtual: p.s.ID.Addr, now: p.now}, nil)
}

func (c *connection) name() string {
	if c == nil {
		return "."
	}
	return nameOf(c.dest)
}

func persistent(t *testing.T, p ipvs.Persistence) *script {
	return newScript(t, ipvs.Service{Scheduler: ipvs.RR, Persistence: p})
}

func TestPersistenceRemembersTheClient(t *testing.T) {
	minute := time.Minute
	for _, tc := range []struct {
		name    string
		persist ipvs.Persistence
		clients []string // one after the other
		want    string
	}{
		{"each address", ipvs.Persistence{Timeout: minute}, []string{"10.1.0.1", "10.1.0.2", "10.1.0.1", "10.1.0.2", "10.1.0.3"}, "cbcba"},
		{"a network", ipvs.Persistence{Timeout: minute, Mask: 24}, []string{"10.1.0.1", "10.1.0.255", "10.1.1.1", "10.1.0.7"}, "ccbc"},
		{"everybody", ipvs.Persistence{Timeout: minute, Mask: ipvs.MaskAll}, []string{"10.1.0.1", "192.0.2.1"}, "cc"},
		{"off", ipvs.Persistence{}, []string{"10.1.0.1", "10.1.0.1", "10.1.0.1"}, "cba"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := persistent(t, tc.persist)
			p.play("+a1 +b1 +c1")
			got := ""
			for _, client := range tc.clients {
				got += p.from(client).name()
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestPersistenceOfQuiescedAndRemoved(t *testing.T) {
	p := persistent(t, ipvs.Persistence{Timeout: time.Minute})
	p.play("+a1 +b1^1")
	check := func(when, want string) {
		t.Helper()
		if got := p.from("10.1.0.1").name(); got != want {
			t.Errorf("%s: got %s, want %s", when, got, want)
		}
	}
	check("first", "b")
	check("a full one", "b")
	p.play("~b0")
	check("weight 0", "b")
	if b := p.s.find(addrOf("b")); b.persistent != 1 {
		t.Errorf("b has %d templates", b.persistent)
	}
	p.play("-b")
	check("removed", "a")
	p.play("+b1")
	check("added again", "a")
	p.play("~a0")
	if got := p.from("10.1.0.2").name(); got != "b" {
		t.Errorf("another client got %s", got)
	}
	p.play("-a ~b0")
	check("nobody", ".")
	if n := len(p.s.templates.byKey); n != 1 {
		t.Errorf("%d templates, want that of the other client", n)
	}
}

func TestPersistenceTimeout(t *testing.T) {
	p := persistent(t, ipvs.Persistence{Timeout: 100 * time.Second})
	p.play("+a1 +b1")
	left := func() time.Duration {
		p.s.templates.expire(p.now)
		for _, tpl := range p.s.templates.byKey {
			return tpl.expires - p.now
		}
		return -1
	}
	c := p.from("10.1.0.1")
	c.leave(p.now)
	p.now += 99 * time.Second
	c = p.from("10.1.0.1") // renewed
	if c.name() != "b" || left() != 100*time.Second {
		t.Errorf("%s, %s left", c.name(), left())
	}
	p.now += 100 * time.Second // it controls a connection: a minute more, and again
	if got := left(); got != time.Minute {
		t.Errorf("controlling: %s left", got)
	}
	p.now += 90 * time.Second
	if got := left(); got != 30*time.Second {
		t.Errorf("after a minute: %s left", got)
	}
	p.now += 100 * time.Second // due at +30 and +90 s, when the connection was there
	c.leave(p.now)
	if got := left(); got != 50*time.Second {
		t.Errorf("after the end of the connection: %s left", got)
	}
	if c = p.from("10.1.0.1"); c.name() != "b" || left() != time.Minute { // its timeout is that from now on
		t.Errorf("%s, %s left", c.name(), left())
	}
	c.leave(p.now)
	p.now += time.Minute
	if got := left(); got != -1 || p.s.find(addrOf("b")).persistent != 0 || len(p.s.templates.heap) != 0 {
		t.Errorf("over: %s left", got)
	}
	if c = p.from("10.1.0.1"); c.name() != "a" || left() != 100*time.Second {
		t.Errorf("%s, %s left", c.name(), left())
	}
}

func TestPersistenceEnds(t *testing.T) {
	p := persistent(t, ipvs.Persistence{Timeout: time.Minute})
	p.play("+a1 +b1")
	p.from("10.1.0.1").leave(p.now)
	p.now += time.Minute
	if got := p.from("10.1.0.1").name(); got != "a" {
		t.Errorf("a client that is not remembered any more got %s", got)
	}
}

func TestPersistenceIsListed(t *testing.T) {
	for _, tc := range []struct {
		id                   ipvs.ServiceID
		virtual, destination string
	}{
		{ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")}, "192.0.2.1:80", "10.0.0.0:80"},
		{ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:21")}, "192.0.2.1:0", "10.0.0.0:0"},
		{ipvs.ServiceID{FWMark: 0x01020304}, "1.2.3.4:0", "10.0.0.0:0"},
	} {
		p := newScript(t, ipvs.Service{ID: tc.id, Scheduler: ipvs.RR, Persistence: ipvs.Persistence{Timeout: 90 * time.Second, Mask: 16}})
		p.play("+a1")
		c := p.from("10.1.2.3")
		list := func() ipvs.Connection { return p.s.templates.list(nil, p.s, p.now)[0] }
		want := ipvs.Connection{
			Protocol: tc.id.Protocol, Client: netip.MustParseAddrPort("10.1.0.0:0"), Virtual: netip.MustParseAddrPort(tc.virtual),
			Destination: netip.MustParseAddrPort(tc.destination), State: ipvs.StateNone, Expires: 90 * time.Second, Origin: ipvs.OriginLocal,
		}
		if d := cmp.Diff(want, list(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" || !want.Template() {
			t.Error(d)
		}
		c.become(ipvs.StateEstablished)
		p.now += 1500 * time.Millisecond
		if got := list(); got.State != ipvs.StateAssured || got.Expires != 88*time.Second {
			t.Errorf("%+v", got)
		}
	}
}

func TestPersistenceByCallID(t *testing.T) {
	p := newScript(t, ipvs.Service{
		ID:        ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort("192.0.2.1:5060")},
		Scheduler: ipvs.RR, Persistence: ipvs.Persistence{Timeout: time.Minute, Engine: "sip"},
	})
	p.play("+a1 +b1")
	got := ""
	for _, call := range []string{"x@one", "y@one", "x@one", "", "y@one"} {
		f := flow{client: netip.MustParseAddrPort("10.1.0.1:5060"), virtual: p.s.ID.Addr, callID: call}
		got += p.s.admit(f, nil).name()
	}
	if got != "bab.a" {
		t.Errorf("got %s", got)
	}
	for _, c := range p.s.templates.list(nil, p.s, 0) {
		if c.Engine != "sip" || !slices.Contains([]string{"x@one", "y@one"}, c.EngineData) {
			t.Errorf("%+v", c)
		}
	}
}

func TestOnePacket(t *testing.T) {
	p := newScript(t, ipvs.Service{
		ID:        ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort("192.0.2.1:53")},
		Scheduler: ipvs.LC, Flags: ipvs.OnePacket,
	})
	p.play("+a1 +b1^1 *bbb")
	b := p.s.find(addrOf("b"))
	if b.total() != 0 || b.conns.n != 0 || b.stats.connections.Load() != 3 || b.overload {
		t.Errorf("%+v", b)
	}
	p.open["b"][0].leave(p.now) // it has left already
	p.open["b"][0].become(ipvs.StateEstablished)
	if b.total() != 0 {
		t.Errorf("%d connections", b.total())
	}
}

func TestRemovedServiceTakesNobody(t *testing.T) {
	for _, wanted := range []ipvs.Service{
		{Scheduler: ipvs.RR},
		{Scheduler: ipvs.RR, Persistence: ipvs.Persistence{Timeout: time.Minute}},
	} {
		p := newScript(t, wanted)
		p.play("+a1")
		c := p.from("10.1.0.1")
		if err := p.e.RemoveService(background, p.s.ID); err != nil {
			t.Fatal(err)
		}
		if late := p.from("10.1.0.1"); late != nil {
			t.Errorf("%v got %s", wanted.Persistence, late.name())
		}
		c.leave(p.now)
		if c.dest.total() != 0 || c.dest.persistent != 0 {
			t.Errorf("%+v", c.dest)
		}
	}
}
