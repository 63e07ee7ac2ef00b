package vrrp

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// reseal makes the checksum of an IPv4 message right again.
func reseal(h header, msg []byte) []byte {
	msg[checksumOff], msg[checksumOff+1] = 0, 0
	sum := onesSum(0, msg)
	if msg[0]>>4 == 3 {
		sum += pseudoSum(h.src, h.dst, len(msg))
	}
	binary.BigEndian.PutUint16(msg[checksumOff:], ^fold(sum))
	return msg
}

// A dropCase is a packet that a router sends and another one drops. set changes
// both, ours the receiver, packet and header what is sent, bytes the message.
type dropCase struct {
	name   string
	set    func(*Config)
	ours   func(*Config)
	packet func(*Packet)
	bytes  func(h *header, msg []byte) []byte
	want   Drop
}

func v2Config(c *Config)   { c.Version = V2 }
func passConfig(c *Config) { c.Version, c.Auth = V2, Auth{Kind: AuthPass, Password: "secret"} }
func ahConfig(c *Config)   { c.Version, c.Auth = V2, Auth{Kind: AuthAH, Password: "secret"} }
func hmacConfig(c *Config) { c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{1, secret(0)}}}} }
func peerConfig(c *Config) { c.Peers = addrs("192.0.2.2") }

// ownGroup is unicast with a group that is not the standard's.
func ownGroup(c *Config) {
	peerConfig(c)
	c.Multicast = netip.MustParseAddr("239.1.2.3")
}

// sumFor makes the checksum that of a packet to dst.
func sumFor(dst string) func(*header, []byte) []byte {
	return func(h *header, b []byte) []byte {
		return reseal(header{src: h.src, dst: netip.MustParseAddr(dst)}, b)
	}
}

var dropCases = []dropCase{
	{name: "VRRPv3", want: DropNone},
	{name: "reserved bits set", want: DropNone, bytes: func(h *header, b []byte) []byte { b[4] |= 0xf0; return reseal(*h, b) }},
	{name: "another interval, VRRPv3", want: DropNone, packet: func(p *Packet) { p.Interval = 20 * time.Millisecond }},
	{name: "other addresses, VRRPv3", want: DropNone, packet: func(p *Packet) { p.Addresses = addrs("192.0.2.7", "192.0.2.8") }},
	{name: "other addresses of their owner, VRRPv2", set: v2Config, want: DropNone, packet: func(p *Packet) { p.Addresses, p.Priority = addrs("192.0.2.7"), 255 }},
	{name: "another order of addresses, VRRPv2", set: func(c *Config) { c.Version, c.Addresses = V2, addrs("192.0.2.7", "192.0.2.8") }, want: DropNone, packet: func(p *Packet) { p.Addresses = addrs("192.0.2.8", "192.0.2.7") }},
	{name: "a zone in the source", set: func(c *Config) { c.Addresses, c.Peers = addrs("fe80::7"), addrs("fe80::2") }, want: DropNone, bytes: func(h *header, b []byte) []byte { h.src = h.src.WithZone("eth0"); return b }},
	{name: "hop limit 1 by unicast", set: peerConfig, want: DropNone, bytes: func(h *header, b []byte) []byte { h.hopLimit = 1; return b }},
	{name: "no hop limit by unicast", set: peerConfig, want: DropNone, bytes: func(h *header, b []byte) []byte { h.hopLimit = -1; return b }},

	{name: "a hop limit of MinHopLimit", set: func(c *Config) { peerConfig(c); c.MinHopLimit = 254 }, want: DropNone, bytes: func(h *header, b []byte) []byte { h.hopLimit = 254; return b }},
	{name: "unicast with the checksum of 224.0.0.18", set: ownGroup, want: DropNone, bytes: sumFor("224.0.0.18")},
	{name: "unicast with the checksum of the group", set: ownGroup, want: DropNone, bytes: sumFor("239.1.2.3")},
	{name: "unicast with the checksum of another group", set: ownGroup, want: DropChecksum, bytes: sumFor("239.1.2.4")},

	{name: "hop limit 254", want: DropHopLimit, bytes: func(h *header, b []byte) []byte { h.hopLimit = 254; return b }},
	{name: "no hop limit", want: DropHopLimit, bytes: func(h *header, b []byte) []byte { h.hopLimit = -1; return b }},
	{name: "hop limit below MinHopLimit", set: func(c *Config) { peerConfig(c); c.MinHopLimit = 254 }, want: DropHopLimit, bytes: func(h *header, b []byte) []byte { h.hopLimit = 253; return b }},
	{name: "no message", want: DropLength, bytes: func(_ *header, b []byte) []byte { return nil }},
	{name: "half a header", want: DropLength, bytes: func(_ *header, b []byte) []byte { return b[:7] }},
	{name: "half an address", want: DropLength, bytes: func(_ *header, b []byte) []byte { return b[:10] }},
	{name: "a byte more", want: DropLength, bytes: func(_ *header, b []byte) []byte { return append(b, 0) }},
	{name: "no Authentication Data", set: v2Config, want: DropLength, bytes: func(_ *header, b []byte) []byte { return b[:12] }},
	{name: "half an AH", set: ahConfig, want: DropLength, bytes: func(_ *header, b []byte) []byte { return b[:20] }},
	{name: "an AH of another length", set: ahConfig, want: DropLength, bytes: func(_ *header, b []byte) []byte { b[1]++; return b }},
	{name: "VRRPv2", want: DropVersion, packet: func(p *Packet) { p.Version = V2 }},
	{name: "VRRPv3 instead of VRRPv2", set: v2Config, want: DropVersion, packet: func(p *Packet) { p.Version = V3 }},
	{name: "VRRPv4", want: DropVersion, bytes: func(h *header, b []byte) []byte { b[0] = 4<<4 | 1; return reseal(*h, b) }},
	{name: "type 2", want: DropType, bytes: func(h *header, b []byte) []byte { b[0] = 3<<4 | 2; return reseal(*h, b) }},
	{name: "AH with another protocol", set: ahConfig, want: DropType, bytes: func(_ *header, b []byte) []byte { b[0] = 6; return b }},
	{name: "a flipped bit", want: DropChecksum, bytes: func(_ *header, b []byte) []byte { b[2] ^= 1; return b }},
	{name: "a flipped bit, VRRPv2", set: v2Config, want: DropChecksum, bytes: func(_ *header, b []byte) []byte { b[2] ^= 1; return b }},
	{name: "a flipped bit, IPv6", set: func(c *Config) { c.Addresses = addrs("fe80::7") }, want: DropChecksum, bytes: func(_ *header, b []byte) []byte { b[2] ^= 1; return b }},
	{name: "a flipped bit of another version", want: DropChecksum, packet: func(p *Packet) { p.Version = V2 }, bytes: func(_ *header, b []byte) []byte { b[2] ^= 1; return b }},
	{name: "message only, IPv6", set: func(c *Config) { c.Addresses = addrs("fe80::7") }, want: DropChecksum, bytes: func(_ *header, b []byte) []byte {
		b[6], b[7] = 0, 0
		binary.BigEndian.PutUint16(b[6:], ^fold(onesSum(0, b)))
		return b
	}},
	{name: "another VRID", want: DropVRID, packet: func(p *Packet) { p.VRID = 52 }},
	{name: "the VRID of the other family", want: DropVRID, bytes: func(h *header, b []byte) []byte { h.src = netip.MustParseAddr("fe80::2"); return b }},
	{name: "another VRID that does not concern us in any way", want: DropVRID, packet: func(p *Packet) { p.VRID, p.Version, p.Addresses = 52, 7, nil }},
	{name: "no address", want: DropCount, packet: func(p *Packet) { p.Addresses = nil }},
	{name: "no address, VRRPv2", set: v2Config, want: DropCount, packet: func(p *Packet) { p.Addresses = nil }},
	{name: "interval 0", want: DropInterval, packet: func(p *Packet) { p.Interval = 0 }},
	{name: "interval 0 but for reserved bits", want: DropInterval, packet: func(p *Packet) { p.Interval = 0 }, bytes: func(h *header, b []byte) []byte { b[4] |= 0xf0; return reseal(*h, b) }},
	{name: "another interval, VRRPv2", set: v2Config, want: DropInterval, packet: func(p *Packet) { p.Interval = 2 * time.Second }},
	{name: "other addresses, VRRPv2", set: v2Config, want: DropAddresses, packet: func(p *Packet) { p.Addresses = addrs("192.0.2.7") }},
	{name: "an address more, VRRPv2", set: v2Config, want: DropAddresses, packet: func(p *Packet) { p.Addresses = addrs("192.0.2.100", "192.0.2.7") }},
	{name: "an address twice, VRRPv2", set: func(c *Config) { c.Version, c.Addresses = V2, addrs("192.0.2.7", "192.0.2.8") }, want: DropAddresses, packet: func(p *Packet) { p.Addresses = addrs("192.0.2.7", "192.0.2.7") }},
	{name: "none instead of PASS", set: v2Config, ours: passConfig, want: DropAuthType},
	{name: "PASS instead of none", set: passConfig, ours: func(c *Config) { c.Auth = Auth{} }, want: DropAuthType},
	{name: "none instead of AH", set: v2Config, ours: ahConfig, want: DropAuthType},
	{name: "PASS instead of AH", set: passConfig, ours: ahConfig, want: DropAuthType},
	{name: "AH instead of none", set: ahConfig, ours: func(c *Config) { c.Auth = Auth{} }, want: DropAuthType},
	{name: "AH said, but not there", set: ahConfig, want: DropAuthType, bytes: func(h *header, b []byte) []byte { h.protocol = protocolVRRP; return b[ahLen:] }},
	{name: "AH there, but not said", set: ahConfig, want: DropAuthType, bytes: func(h *header, b []byte) []byte {
		b[ahLen+4] = wireNone
		reseal(*h, b[ahLen:])
		return b
	}},
	{name: "HMAC instead of none", set: hmacConfig, ours: func(c *Config) { c.Auth = Auth{} }, want: DropAuthType},
	{name: "none instead of HMAC", ours: hmacConfig, want: DropAuthType},
	{name: "a trailer of another type", set: hmacConfig, want: DropAuthType, bytes: func(_ *header, b []byte) []byte { b[len(b)-trailerLen] = 2; return b }},
	{name: "another password", set: passConfig, ours: func(c *Config) { c.Auth.Password = "Secret" }, want: DropAuthData},
	{name: "the beginning of the password", set: passConfig, ours: func(c *Config) { c.Auth.Password = "secret12" }, want: DropAuthData},
	{name: "another key of AH", set: ahConfig, ours: func(c *Config) { c.Auth.Password = "Secret" }, want: DropAuthData},
	{name: "an AH with another SPI", set: ahConfig, want: DropAuthData, bytes: func(_ *header, b []byte) []byte { b[4]++; return b }},
	{name: "AH without the IP header", set: ahConfig, want: DropAuthData, bytes: func(h *header, b []byte) []byte { h.ip = nil; return b }},
	{name: "another IP header than that of AH", set: ahConfig, want: DropAuthData, bytes: func(h *header, b []byte) []byte { h.ip[5] = 1; return b }},
	{name: "a key that we lack", set: hmacConfig, ours: func(c *Config) { c.Auth.HMAC.Keys = []Key{{2, secret(0)}} }, want: DropAuthData},
	{name: "another key with the same ID", set: hmacConfig, ours: func(c *Config) { c.Auth.HMAC.Keys = []Key{{1, secret(1)}} }, want: DropAuthData},
	{name: "bits in the trailer's reserved field", set: hmacConfig, want: DropAuthData, bytes: func(_ *header, b []byte) []byte { b[len(b)-trailerLen+3] = 1; return b }},
	{name: "another priority than was signed", set: hmacConfig, want: DropAuthData, bytes: func(h *header, b []byte) []byte {
		b[2] = 255
		reseal(*h, b[:len(b)-trailerLen])
		return b
	}},
	{name: "a wrong signature, though only received", set: hmacConfig, ours: func(c *Config) {
		c.Auth.HMAC.Mode, c.Auth.HMAC.Keys = HMACReceive, []Key{{1, secret(1)}}
	}, want: DropAuthData},
	{name: "no peer", set: peerConfig, want: DropPeer, bytes: func(h *header, b []byte) []byte { h.src = netip.MustParseAddr("192.0.2.3"); return b }},
	{name: "unicast instead of multicast", want: DropDestination, bytes: func(h *header, b []byte) []byte {
		h.dst, h.multicast = netip.MustParseAddr("192.0.2.1"), false
		return b
	}},
	{name: "multicast instead of unicast", set: peerConfig, want: DropDestination, bytes: func(h *header, b []byte) []byte { h.dst, h.multicast = group4, true; return b }},
	{name: "another group", want: DropDestination, bytes: func(h *header, b []byte) []byte { h.dst = netip.MustParseAddr("224.0.0.19"); return b }},
	{name: "the second path's multicast", set: func(c *Config) { c.SecondPath = SecondPath{Interface: "eth1", Peers: addrs("192.0.2.2")} }, want: DropDestination, bytes: func(h *header, b []byte) []byte { h.second = true; return b }},
	{name: "no peer of the second path", set: func(c *Config) { c.SecondPath = SecondPath{Interface: "eth1", Peers: addrs("198.51.100.2")} }, want: DropPeer, bytes: func(h *header, b []byte) []byte {
		h.second, h.multicast, h.dst = true, false, netip.MustParseAddr("192.0.2.1")
		return b
	}},
	{name: "the second path", set: func(c *Config) { c.SecondPath = SecondPath{Interface: "eth1", Peers: addrs("192.0.2.2")} }, want: DropNone, bytes: func(h *header, b []byte) []byte {
		h.second, h.multicast, h.dst, h.hopLimit = true, false, netip.MustParseAddr("192.0.2.1"), 7
		return reseal(*h, b)
	}},
}

// run sends and receives.
func (tt *dropCase) run(t *testing.T) (*wire, Packet, Drop) {
	from := testWire(t, tt.set)
	to := testWire(t, func(c *Config) {
		if tt.set != nil {
			tt.set(c)
		}
		if tt.ours != nil {
			tt.ours(c)
		}
	})
	src := "192.0.2.2"
	if from.cfg.ipv6() {
		src = "fe80::2"
	}
	h, sent, p := from.headerFor(src), from.packetOf(), Packet{}
	if tt.packet != nil {
		tt.packet(&sent)
	}
	msg := from.send(&sent, &h, testTime)
	if tt.bytes != nil {
		msg = tt.bytes(&h, msg)
	}
	d := to.decode(&p, h, msg, testTime)
	return to, p, d
}

func TestDrops(t *testing.T) {
	seen := map[Drop]bool{DropReplay: true, DropClock: true, DropOwn: true} // TestReplayWith..., and the loop's
	for _, tt := range dropCases {
		t.Run(tt.name, func(t *testing.T) {
			seen[tt.want] = true
			to, p, d := tt.run(t)
			if d != tt.want {
				t.Fatalf("have %v, want %v", d, tt.want)
			}
			switch d {
			case DropNone, DropVersion, DropInterval, DropAddresses, DropAuthType, DropAuthData:
				if p.VRID != to.cfg.VRID || p.Priority == 0 {
					t.Errorf("nothing of the packet is there for events: %+v", p)
				}
			}
		})
	}
	for d := range numDrops {
		if !seen[d] {
			t.Errorf("no case for %v", d)
		}
	}
}

func TestDropHasAName(t *testing.T) {
	names := map[string]bool{}
	for d := range numDrops {
		b, err := d.MarshalText()
		if err != nil || string(b) != d.String() || names[d.String()] || d.String() == "" {
			t.Errorf("drop %d is %q, as text %q, %v", d, d.String(), b, err)
		}
		names[d.String()] = true
	}
	if s := numDrops.String(); s != "drop 17" {
		t.Errorf("an unknown one is %q", s)
	}
}
