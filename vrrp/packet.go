package vrrp

import (
	"net/netip"
	"time"
)

// A Packet is a VRRP advertisement, the only kind of message that VRRP has.
type Packet struct {
	Version   Version
	VRID      uint8
	Priority  uint8         // 0: the sender resigns; 255: it owns the addresses
	Interval  time.Duration // of the sender: v2 whole seconds, v3 steps of 10 ms
	Addresses []netip.Addr  // virtual addresses, as sent
}

// header is what the IP header, and the kernel, say of a received packet.
type header struct {
	src, dst  netip.Addr
	hopLimit  int   // TTL or hop limit; -1 if unknown
	protocol  uint8 // 112, or 51 (AH)
	multicast bool  // dst is a group
}

// wire decodes and encodes for one router: it knows its configuration and what
// authentication has to remember.
type wire struct {
	cfg *Config
}

func newWire(cfg *Config) *wire { return &wire{cfg: cfg} }

// decode takes a received VRRP message (or AH with one inside) apart into p. now
// is Unix time, of which only the anti-replay window makes use. DropNone means
// accepted. With DropAddresses, DropInterval, DropAuth... and DropVersion p is
// filled in as far as the message can be read, for events about mismatches.
func (w *wire) decode(p *Packet, h header, msg []byte, now time.Time) Drop { return DropNone }

// encode appends the message for p, with everything that authentication adds
// before and after it (but no IP header), to b.
func (w *wire) encode(b []byte, p *Packet, src, dst netip.Addr, now time.Time) []byte { return b }
