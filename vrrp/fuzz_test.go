package vrrp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// fuzzConfigs are what the fuzz targets choose from.
var fuzzConfigs = []func(*Config){
	nil,
	func(c *Config) { c.Checksum, c.Peers = MessageOnly, addrs("192.0.2.2") },
	func(c *Config) { c.Addresses = addrs("fe80::100") },
	v2Config,
	passConfig,
	ahConfig,
	func(c *Config) { ahConfig(c); peerConfig(c) },
	func(c *Config) { hmacConfig(c); c.Auth.HMAC.NoWindow = true },
	func(c *Config) {
		hmacConfig(c)
		c.Addresses, c.Auth.HMAC.Mode = addrs("fe80::100"), HMACPermissive
	},
}

// fuzzHeader is a header for w with a few things that may be wrong.
func fuzzHeader(w *wire, msg []byte, odd uint8) header {
	src := "192.0.2.2"
	if w.cfg.ipv6() {
		src = "fe80::2"
	}
	h := w.headerFor(src)
	switch odd {
	case 1:
		h.hopLimit = 254
	case 2:
		h.multicast = !h.multicast
	case 3:
		h.protocol ^= protocolAH ^ protocolVRRP
	case 4:
		h.second = true
	case 5:
		h.src = netip.MustParseAddr("fe80::3")
		return h
	}
	if h.src.Is4() && odd != 6 {
		h.ip = ipHeader(h, len(msg))
	}
	return h
}

func addFixtures(f *testing.F, add func(msg []byte)) {
	for _, x := range fixtures {
		packets, _ := x.read(f)
		for _, b := range packets {
			_, msg := splitIP(b)
			add(msg)
		}
	}
}

// FuzzParsePacket: what is accepted is encoded to something that is decoded to
// the same; and in VRRPv3 without authentication to the same bytes.
func FuzzParsePacket(f *testing.F) {
	addFixtures(f, func(msg []byte) {
		f.Add(msg, false)
		f.Add(msg, true)
	})
	f.Fuzz(func(t *testing.T, msg []byte, ipv6 bool) {
		src, dst := netip.MustParseAddr("192.0.2.2"), group4
		if ipv6 {
			src, dst = netip.MustParseAddr("fe80::2"), group6
		}
		// A right checksum lets the fuzzer get further.
		for _, fix := range []bool{false, true} {
			if fix && len(msg) >= headerLen {
				msg = bytes.Clone(msg)
				msg[6], msg[7] = 0, 0
				sum := onesSum(0, msg)
				if ipv6 {
					sum += pseudoSum(src, dst, len(msg))
				}
				binary.BigEndian.PutUint16(msg[6:], ^fold(sum))
			}
			p, d := ParsePacket(msg, src, dst)
			if d != DropNone {
				continue
			}
			out := p.Append(nil, src, dst)
			again, d := ParsePacket(out, src, dst)
			if d != DropNone || !samePacket(again, p) {
				t.Fatalf("%x is %+v, which is encoded as %x, which is %v %+v", msg, p, out, d, again)
			}
			if len(out) != len(msg) || p.Version == V2 {
				continue // without authentication
			}
			msg := bytes.Clone(msg)
			msg[4] &= 0xf
			msg[6], msg[7], out[6], out[7] = 0, 0, 0, 0
			if !bytes.Equal(out, msg) {
				t.Fatalf("%x is encoded as %x", msg, out)
			}
		}
	})
}

// FuzzDecode: no bytes make decode panic or read beyond them; what is accepted is
// encoded to something that is accepted and the same.
func FuzzDecode(f *testing.F) {
	addFixtures(f, func(msg []byte) {
		for i := range uint8(len(fuzzConfigs)) {
			f.Add(msg, i, uint8(0))
		}
	})
	f.Fuzz(func(t *testing.T, msg []byte, which, odd uint8) {
		w := testWire(t, fuzzConfigs[int(which)%len(fuzzConfigs)])
		msg = msg[:len(msg):len(msg)]
		h := fuzzHeader(w, msg, odd)
		var p Packet
		d := w.decode(&p, h, msg, testTime)
		if d >= numDrops || d == DropOwn {
			t.Fatalf("drop %v", d)
		}
		if len(p.Addresses) > 255 {
			t.Fatalf("%d addresses", len(p.Addresses))
		}
		newObserver(w.cfg).packet(0, h, &p, d)
		if d != DropNone {
			return
		}
		w.cfg.Checksum = p.Checksum
		again := Packet{}
		out := w.send(&p, &h, testTime)
		if d := w.decode(&again, h, out, testTime); d != DropNone && d != DropReplay {
			t.Fatalf("%x is encoded as %x, and dropped: %v", msg, out, d)
		}
		if !samePacket(again, p) {
			t.Fatalf("have %+v, want %+v", again, p)
		}
	})
}

// FuzzAuth: a packet that was changed in any way, the checksum made right again, is
// not accepted with AH or HMAC, unless a field was changed that is not covered.
func FuzzAuth(f *testing.F) {
	f.Add(uint8(0), uint16(2), uint8(1))
	f.Add(uint8(1), uint16(26), uint8(0x80))
	f.Add(uint8(2), uint16(7), uint8(0xff))
	f.Add(uint8(3), uint16(30), uint8(3))
	f.Fuzz(func(t *testing.T, which uint8, at uint16, flip uint8) {
		kinds := []func(*Config){
			ahConfig,
			func(c *Config) { ahConfig(c); peerConfig(c) },
			hmacConfig,
			func(c *Config) { hmacConfig(c); c.Addresses = addrs("fe80::100") },
		}
		set := kinds[int(which)%len(kinds)]
		from, to := testWire(t, set), testWire(t, set)
		src := "192.0.2.2"
		if from.cfg.ipv6() {
			src = "fe80::2"
		}
		h, p := from.headerFor(src), from.packetOf()
		msg := from.send(&p, &h, testTime)
		i := int(at) % len(msg)
		if flip == 0 {
			return
		}
		msg[i] ^= flip
		resum(h, msg)
		var out Packet
		checksum := i == checksumOff || i == checksumOff+1 // restored by resum, where it is one
		if d := to.decode(&out, h, msg, testTime); d == DropNone && !(checksum && from.cfg.Auth.Kind == AuthHMAC) {
			if h.protocol == protocolAH && (i == ahLen+checksumOff || i == ahLen+checksumOff+1) {
				return
			}
			t.Fatalf("byte %d was changed by %#x, and the packet was accepted: %x", i, flip, msg)
		}
	})
}

// resum makes the checksum of a message with authentication right.
func resum(h header, msg []byte) {
	body := msg
	if h.protocol == protocolAH {
		body = msg[ahLen:]
	} else if h.src.Is4() {
		body = msg[:len(msg)-trailerLen]
	}
	body[6], body[7] = 0, 0
	sum := onesSum(0, body)
	if h.protocol != protocolAH {
		sum += pseudoSum(h.src, h.dst, len(body))
	}
	binary.BigEndian.PutUint16(body[6:], ^fold(sum))
}
