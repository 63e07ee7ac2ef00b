package vrrp

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// told is events in words.
func told(events []Event) string {
	var words []string
	for _, e := range events {
		s := e.Kind.String()
		if e.Mismatch != 0 {
			s += fmt.Sprintf(" %05b", e.Mismatch)
		}
		if e.Peer.Addr.IsValid() {
			s += fmt.Sprintf(" %v %v", e.Peer.Addr, e.Peer.Addresses)
		}
		words = append(words, s)
	}
	return strings.Join(words, "; ")
}

func testObserver(t testing.TB, set func(*Config)) *observer {
	return newObserver(testWire(t, set).cfg)
}

func TestObserverTellsDifferences(t *testing.T) {
	two := func(c *Config) { c.Addresses = addrs("192.0.2.100", "192.0.2.101") }
	same := Packet{Version: V3, VRID: 51, Priority: 200, Interval: time.Second, Addresses: addrs("192.0.2.100", "192.0.2.101")}
	with := func(set func(*Packet)) Packet {
		p := same
		set(&p)
		return p
	}
	for _, tt := range []struct {
		name string
		p    Packet
		d    Drop
		want string
	}{
		{"nothing", same, DropNone, ""},
		{"the order of the addresses", with(func(p *Packet) { p.Addresses = addrs("192.0.2.101", "192.0.2.100") }), DropNone, ""},
		{"an address less", with(func(p *Packet) { p.Addresses = addrs("192.0.2.101") }), DropNone, "peer differs 00001 192.0.2.2 [192.0.2.101]"},
		{"an address less, VRRPv2", with(func(p *Packet) { p.Addresses = addrs("192.0.2.101") }), DropAddresses, "peer differs 00001 192.0.2.2 [192.0.2.101]"},
		{"other addresses", with(func(p *Packet) { p.Addresses = addrs("192.0.2.7") }), DropNone, "foreign cluster 192.0.2.2 [192.0.2.7]"},
		{"other addresses and another version", with(func(p *Packet) { p.Addresses, p.Version = addrs("192.0.2.7"), V2 }), DropVersion, "foreign cluster 192.0.2.2 [192.0.2.7]"},
		{"interval", with(func(p *Packet) { p.Interval = 2 * time.Second }), DropNone, "peer differs 00010 192.0.2.2 [192.0.2.100 192.0.2.101]"},
		{"interval 0", with(func(p *Packet) { p.Interval = 0 }), DropInterval, "peer differs 00010 192.0.2.2 [192.0.2.100 192.0.2.101]"},
		{"interval and an address more", with(func(p *Packet) {
			p.Interval, p.Addresses = 2*time.Second, append(p.Addresses[:2:2], netip.MustParseAddr("192.0.2.3"))
		}), DropNone, "peer differs 00011 192.0.2.2 [192.0.2.100 192.0.2.101 192.0.2.3]"},
		{"version", with(func(p *Packet) { p.Version = V2 }), DropVersion, "peer differs 00100 192.0.2.2 [192.0.2.100 192.0.2.101]"},
		{"a version that nobody knows", Packet{Version: 7, VRID: 51}, DropVersion, "peer differs 00100 192.0.2.2 []"},
		{"kind of authentication", same, DropAuthType, "peer differs 01000 192.0.2.2 [192.0.2.100 192.0.2.101]"},
		{"password", same, DropAuthData, "peer differs 01000 192.0.2.2 [192.0.2.100 192.0.2.101]"},
		{"the same priority", with(func(p *Packet) { p.Priority = 100 }), DropNone, "peer differs 10000 192.0.2.2 [192.0.2.100 192.0.2.101]"},
		{"clock", same, DropClock, "peer differs 01000 192.0.2.2 [192.0.2.100 192.0.2.101]"},
		{"the same priority and another password", with(func(p *Packet) { p.Priority = 100 }), DropAuthData, "peer differs 01000 192.0.2.2 [192.0.2.100 192.0.2.101]"},
		{"an old packet", same, DropReplay, ""},
		{"a broken packet", Packet{Version: V3, Addresses: addrs("192.0.2.7")}, DropChecksum, ""},
		{"another VRID", Packet{Version: V3}, DropVRID, ""},
		{"no peer", same, DropPeer, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := testObserver(t, two)
			h := header{src: netip.MustParseAddr("192.0.2.2")}
			if have := told(o.packet(time.Second, h, &tt.p, tt.d)); have != tt.want {
				t.Errorf("have %q\nwant %q", have, tt.want)
			}
			if have := told(o.packet(2*time.Second, h, &tt.p, tt.d)); have != "" {
				t.Errorf("told again: %q", have)
			}
			o.config(o.cfg)
			if have := told(o.packet(3*time.Second, h, &tt.p, tt.d)); have != tt.want {
				t.Errorf("after an Update: %q, want %q", have, tt.want)
			}
		})
	}
}

func TestObserverTellsEachKindOnceForEachPeer(t *testing.T) {
	o := testObserver(t, nil)
	p := Packet{Version: V3, VRID: 51, Priority: 200, Interval: 2 * time.Second, Addresses: addrs("192.0.2.100")}
	a, b := header{src: netip.MustParseAddr("192.0.2.2")}, header{src: netip.MustParseAddr("192.0.2.3")}
	for _, step := range []struct {
		h    header
		d    Drop
		want string
	}{
		{a, DropNone, "peer differs 00010 192.0.2.2 [192.0.2.100]"},
		{a, DropAuthData, "peer differs 01000 192.0.2.2 [192.0.2.100]"},
		{b, DropAuthData, "peer differs 01010 192.0.2.3 [192.0.2.100]"},
		{b, DropNone, ""},
		{header{src: netip.MustParseAddr("198.51.100.2"), second: true}, DropNone, ""},
	} {
		if have := told(o.packet(0, step.h, &p, step.d)); have != step.want {
			t.Errorf("have %q, want %q", have, step.want)
		}
	}
	want := []Peer{
		{netip.MustParseAddr("192.0.2.2"), V3, 200, 2 * time.Second, addrs("192.0.2.100")},
		{netip.MustParseAddr("192.0.2.3"), V3, 200, 2 * time.Second, addrs("192.0.2.100")},
	}
	if have := o.peers(); !reflect.DeepEqual(have, want) {
		t.Errorf("peers are %+v\nwant %+v", have, want)
	}
	p.Addresses[0] = netip.MustParseAddr("192.0.2.1")
	if have := o.peers(); !reflect.DeepEqual(have, want) {
		t.Errorf("the peers share the packet's slice: %+v", have)
	}
	o.tick(observedLately, Backup)
	if have := o.peers(); len(have) != 0 {
		t.Errorf("after %v of silence there are still %+v", observedLately, have)
	}
}

func TestObserverHasBounds(t *testing.T) {
	o := testObserver(t, nil)
	p := Packet{Version: V3, VRID: 51, Priority: 200, Interval: time.Second, Addresses: addrs("192.0.2.7")}
	n := 0
	for i := range 200 {
		h := header{src: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}
		n += len(o.packet(time.Duration(i)*time.Second, h, &p, DropAuthType))
	}
	if n != observedPeers || len(o.peers()) != observedPeers {
		t.Errorf("%d events and %d peers of 200 forged sources, want %d", n, len(o.peers()), observedPeers)
	}
	p.Addresses = addrs("192.0.2.100")
	real := header{src: netip.MustParseAddr("192.0.2.2")}
	o.packet(200*time.Second, real, &p, DropNone)
	if have := o.peers(); have[len(have)-1].Addr != real.src {
		t.Errorf("no room for a router that is accepted: %+v", have)
	}
}

func TestNoPeerHeard(t *testing.T) {
	const down = 3*time.Second + 609375*time.Microsecond // priority 100
	p := Packet{Version: V3, VRID: 51, Priority: 200, Interval: time.Second, Addresses: addrs("192.0.2.100")}
	for _, tt := range []struct {
		name string
		d    Drop
		want string
	}{
		{"nothing at all", numDrops, "no peer heard"},
		{"an advertisement", DropNone, ""},
		{"one with a wrong password", DropAuthData, ""},
		{"one of another virtual router", DropVRID, "no peer heard"},
		{"one of another network", DropHopLimit, "no peer heard"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := testObserver(t, nil)
			if tt.d != numDrops {
				o.packet(0, header{src: netip.MustParseAddr("192.0.2.2")}, &p, tt.d)
			}
			o.tick(0, Active)
			o.tick(time.Second, Backup)
			o.tick(2*time.Second, Active)
			if have := told(o.tick(2*time.Second+10*down-1, Active)); have != "" {
				t.Errorf("too early: %q", have)
			}
			if have := told(o.tick(2*time.Second+10*down, Active)); have != tt.want {
				t.Errorf("have %q, want %q", have, tt.want)
			}
			if have := told(o.tick(time.Hour, Active)); have != "" {
				t.Errorf("twice: %q", have)
			}
		})
	}
}

func TestObserverDoesNotAllocate(t *testing.T) {
	o := testObserver(t, nil)
	p := Packet{Version: V3, VRID: 51, Priority: 200, Interval: 2 * time.Second, Addresses: addrs("192.0.2.100")}
	h := header{src: netip.MustParseAddr("192.0.2.2")}
	o.packet(0, h, &p, DropNone)
	if n := testing.AllocsPerRun(100, func() { o.packet(0, h, &p, DropNone); o.tick(0, Backup) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
