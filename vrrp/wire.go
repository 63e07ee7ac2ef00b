package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// header is what the IP header, and the kernel, say of a received packet.
type header struct {
	src, dst  netip.Addr
	hopLimit  int    // TTL or hop limit; -1 if unknown
	protocol  uint8  // 112, or 51 (AH)
	multicast bool   // dst is a group
	second    bool   // it came by the second path
	ip        []byte // the IPv4 header as received, with its options; AH covers it
}

// wire decodes and encodes for one router: it knows its configuration and what
// authentication has to remember.
type wire struct {
	cfg  *Config
	ours addressSet
	ah   ahState
	hmac hmacState
}

func newWire(cfg *Config) *wire {
	w := &wire{}
	w.config(cfg)
	return w
}

// config changes the configuration and keeps what authentication remembers.
func (w *wire) config(cfg *Config) {
	w.cfg = cfg
	w.ours.config(cfg.Addresses)
	w.ah.config(cfg)
	w.hmac.config(cfg)
}

// decode takes a received VRRP message (or AH with one inside) apart into p. now
// is Unix time, of which only the anti-replay window makes use. DropNone means
// accepted. With DropAddresses, DropInterval, DropAuth..., DropReplay, DropClock
// and DropVersion p is filled in as far as the message can be read, for events about
// mismatches. p.Addresses is reused.
func (w *wire) decode(p *Packet, h header, msg []byte, now time.Time) Drop {
	outer := msg
	if h.protocol == protocolAH {
		var d Drop
		if msg, d = openAH(msg); d != DropNone {
			return d
		}
	}
	if d := w.admit(h, msg); d != DropNone {
		return d
	}
	m, d := p.parse(msg, h.src, h.dst, w.cfg.Multicast)
	if d == DropNone && len(m.trailer) > 0 && !isTrailer(m.trailer) {
		d = DropLength
	}
	if d != DropNone {
		return d
	}
	if p.Version != w.cfg.Version {
		return DropVersion
	}
	if d := w.authentic(h, outer, &m, now); d != DropNone {
		return d
	}
	return w.agrees(p)
}

// admit checks what does not need the message taken apart: whether it is for us
// and from whom it may come.
func (w *wire) admit(h header, msg []byte) Drop {
	multicast, peers := len(w.cfg.Peers) == 0, w.cfg.Peers
	if h.second {
		multicast, peers = false, w.cfg.SecondPath.Peers
	}
	switch {
	case len(msg) < headerLen:
		return DropLength
	case msg[1] != w.cfg.VRID || h.src.Is4() != w.cfg.Addresses[0].Is4():
		return DropVRID // the VRIDs of IPv4 and IPv6 have nothing to do with each other
	case h.multicast != multicast, multicast && h.dst.WithZone("") != w.cfg.Multicast:
		return DropDestination
	case !multicast && !slices.Contains(peers, h.src.WithZone("")):
		return DropPeer
	case multicast && h.hopLimit != 255, !multicast && w.cfg.MinHopLimit > 0 && h.hopLimit < w.cfg.MinHopLimit:
		return DropHopLimit
	}
	return DropNone
}

// agrees compares an authentic advertisement with our configuration.
func (w *wire) agrees(p *Packet) Drop {
	switch {
	case p.Interval == 0:
		return DropInterval
	case p.Version != V2:
		return DropNone // differences are for the observer
	case p.Interval != w.cfg.Interval:
		return DropInterval
	case p.Priority != 255 && !w.ours.same(p.Addresses):
		return DropAddresses
	}
	return DropNone
}

// encode appends the message for p, with everything that authentication adds
// before and after it (but no IP header), to b. p.Checksum is ignored:
// Config.Checksum counts.
//
// With AuthAH the digest covers the IP header, which must be the kernel's with
// IP_MTU_DISCOVER = IP_PMTUDISC_DO (so that its identification is 0), without
// options, protocol 51, and with TTL 255 for a group.
func (w *wire) encode(b []byte, p *Packet, src, dst netip.Addr, now time.Time) []byte {
	switch auth := &w.cfg.Auth; auth.Kind {
	case AuthAH:
		return w.ah.encode(b, p, src, dst, now)
	case AuthHMAC:
		return w.hmac.encode(b, p, src, dst, w.cfg.Checksum, now)
	case AuthPass:
		start := len(b)
		b = p.appendMessage(b, src, wirePass, auth.Password)
		p.seal(b[start:], src, dst, w.cfg.Checksum)
		return b
	}
	start := len(b)
	b = p.appendMessage(b, src, wireNone, "")
	p.seal(b[start:], src, dst, w.cfg.Checksum)
	return b
}
