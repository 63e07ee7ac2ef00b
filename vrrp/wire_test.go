package vrrp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var testTime = time.Unix(1_800_000_000, 500_000_000)

// testWire is the wire of the least Config, changed by set.
func testWire(t testing.TB, set func(*Config)) *wire {
	t.Helper()
	c := plainConfig()
	if set != nil {
		set(&c)
	}
	c, err := c.normal()
	if err != nil {
		t.Fatal(err)
	}
	return newWire(&c)
}

// packetOf is the advertisement that a router with w's configuration sends.
func (w *wire) packetOf() Packet {
	return Packet{Version: w.cfg.Version, VRID: w.cfg.VRID, Priority: w.cfg.Priority, Interval: w.cfg.Interval, Checksum: w.cfg.Checksum, Addresses: w.cfg.Addresses}
}

// headerFor is the header of what a router with w's configuration sends from src.
func (w *wire) headerFor(src string) header {
	h := header{src: netip.MustParseAddr(src), dst: w.cfg.Multicast, hopLimit: 255, protocol: protocolVRRP, multicast: true}
	if len(w.cfg.Peers) > 0 {
		h.multicast = false
		h.dst = netip.MustParseAddr("192.0.2.1")
		if h.src.Is6() {
			h.dst = netip.MustParseAddr("fe80::1")
		}
	}
	if w.cfg.Auth.Kind == AuthAH {
		h.protocol = protocolAH
	}
	return h
}

// ipHeader is what the kernel puts before n bytes of payload.
func ipHeader(h header, n int) []byte {
	b := make([]byte, 20)
	b[0], b[1], b[6], b[8], b[9] = 0x45, 0xc0, 0x40, byte(h.hopLimit), h.protocol
	binary.BigEndian.PutUint16(b[2:], uint16(20+n))
	src, dst := h.src.As4(), h.dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], ^fold(onesSum(0, b)))
	return b
}

// send encodes p as w does, for the receiver.
func (w *wire) send(p *Packet, h *header, now time.Time) []byte {
	b := w.encode(nil, p, h.src, h.dst, now)
	if h.protocol == protocolAH {
		h.ip = ipHeader(*h, len(b))
	}
	return b
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	v6 := addrs("fe80::100", "2001:db8::100")
	keys := []Key{{1, secret(0)}, {200, secret(9)}}
	for _, tt := range []struct {
		name string
		src  string
		set  func(*Config)
		size int
	}{
		{"VRRPv3", "192.0.2.2", nil, 12},
		{"VRRPv3 of message only", "192.0.2.2", func(c *Config) { c.Checksum = MessageOnly }, 12},
		{"VRRPv3 unicast", "192.0.2.2", func(c *Config) { c.Peers = addrs("192.0.2.2") }, 12},
		{"VRRPv3 with 40.95 s", "192.0.2.2", func(c *Config) { c.Interval = maxIntervalV3 }, 12},
		{"VRRPv3 IPv6", "fe80::2", func(c *Config) { c.Addresses = v6 }, 40},
		{"VRRPv3 IPv6 unicast", "fe80::2", func(c *Config) { c.Addresses, c.Peers = v6, addrs("fe80::2") }, 40},
		{"VRRPv2", "192.0.2.2", func(c *Config) { c.Version = V2 }, 20},
		{"VRRPv2 with 255 s", "192.0.2.2", func(c *Config) { c.Version, c.Interval = V2, maxIntervalV2 }, 20},
		{"VRRPv2 PASS", "192.0.2.2", func(c *Config) { c.Version, c.Auth = V2, Auth{Kind: AuthPass, Password: "secret"} }, 20},
		{"VRRPv2 AH", "192.0.2.2", func(c *Config) { c.Version, c.Auth = V2, Auth{Kind: AuthAH, Password: "secret"} }, 44},
		{"VRRPv2 AH unicast", "192.0.2.2", func(c *Config) {
			c.Version, c.Auth, c.Peers = V2, Auth{Kind: AuthAH, Password: "secret"}, addrs("192.0.2.2")
		}, 44},
		{"VRRPv3 HMAC", "192.0.2.2", func(c *Config) { c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: keys, Active: 200}} }, 40},
		{"VRRPv3 HMAC IPv6", "fe80::2", func(c *Config) {
			c.Addresses, c.Auth = v6, Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: keys, NoWindow: true}}
		}, 68},
		{"255 addresses", "192.0.2.2", func(c *Config) {
			c.Addresses = nil
			for i := range 255 {
				c.Addresses = append(c.Addresses, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
			}
		}, 8 + 4*255},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, to := testWire(t, tt.set), testWire(t, tt.set)
			want := from.packetOf()
			for _, priority := range []uint8{0, 1, 100, 255} {
				want.Priority = priority
				h := from.headerFor(tt.src)
				msg := from.send(&want, &h, testTime)
				if len(msg) != tt.size {
					t.Errorf("%d bytes, want %d", len(msg), tt.size)
				}
				have := Packet{}
				if d := to.decode(&have, h, msg, testTime); d != DropNone {
					t.Fatalf("dropped: %v", d)
				}
				if !samePacket(have, want) {
					t.Errorf("have %+v\nwant %+v", have, want)
				}
			}
		})
	}
}

func samePacket(a, b Packet) bool {
	same := slices.Equal(a.Addresses, b.Addresses)
	a.Addresses, b.Addresses = nil, nil
	return same && a.Version == b.Version && a.VRID == b.VRID && a.Priority == b.Priority && a.Interval == b.Interval && a.Checksum == b.Checksum
}

func TestAppendTakesWhatItGets(t *testing.T) {
	v4, v6 := addrs("192.0.2.2", "224.0.0.18"), addrs("fe80::2", "ff02::12")
	many := make([]netip.Addr, 300)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	for _, tt := range []struct {
		name string
		p    Packet
		ends []netip.Addr
		want []netip.Addr
	}{
		{"no version is VRRPv3", Packet{Addresses: addrs("192.0.2.1")}, v4, addrs("192.0.2.1")},
		{"IPv4 in the form of IPv6", Packet{Addresses: addrs("::ffff:192.0.2.1")}, v4, addrs("192.0.2.1")},
		{"mixed families, IPv4", Packet{Addresses: addrs("fe80::1", "192.0.2.1")}, v4, addrs("192.0.2.1")},
		{"mixed families, IPv6", Packet{Addresses: addrs("fe80::1", "192.0.2.1")}, v6, addrs("fe80::1")},
		{"zero addresses", Packet{Version: V2, Addresses: []netip.Addr{{}, v4[0]}}, v4, v4[:1]},
		{"300 addresses", Packet{Addresses: many}, v4, many[:255]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.p.Interval = time.Second
			have, d := ParsePacket(tt.p.Append(nil, tt.ends[0], tt.ends[1]), tt.ends[0], tt.ends[1])
			if d != DropNone || !slices.Equal(have.Addresses, tt.want) {
				t.Errorf("%v %v, want %v", d, have.Addresses, tt.want)
			}
		})
	}
	p := Packet{Version: V3, Interval: time.Second, Addresses: addrs("192.0.2.1")}
	if msg := p.Append(nil, netip.Addr{}, netip.Addr{}); len(msg) != 12 {
		t.Errorf("without source: %x", msg)
	}
	if _, d := ParsePacket(nil, netip.Addr{}, netip.Addr{}); d != DropLength {
		t.Errorf("nothing at all: %v", d)
	}
}
