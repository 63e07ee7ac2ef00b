package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// A Packet is a VRRP advertisement, the only kind of message that VRRP has.
type Packet struct {
	Version   Version
	VRID      uint8
	Priority  uint8         // 0: the sender resigns; 255: it owns the addresses
	Interval  time.Duration // of the sender: v2 whole seconds, v3 steps of 10 ms
	Checksum  Checksum      // the form of the checksum, VRRPv3 over IPv4
	Addresses []netip.Addr  // virtual addresses, as sent
}

// The layout of a message (RFC 9568, section 5.1; RFC 3768, section 5.1).
const (
	headerLen   = 8
	checksumOff = 6
	passwordLen = 8 // what ends a v2 message: Authentication Data
	typeAdvert  = 1
)

// ParsePacket takes a VRRP message apart, without an IP header, that was sent
// from src to dst; it is for captures and tools. DropNone means that it is a
// well-formed advertisement. With DropVersion, DropType and DropLength the Packet
// has what could be read. Authentication is not checked: a password is skipped
// and so is the trailer of AuthHMAC.
func ParsePacket(msg []byte, src, dst netip.Addr) (Packet, Drop) {
	var p Packet
	m, d := p.parse(msg, src.Unmap(), dst.Unmap(), netip.Addr{})
	if d == DropNone && p.Interval == 0 {
		d = DropInterval
	}
	if d == DropNone && len(m.trailer) > 0 && !isTrailer(m.trailer) {
		d = DropLength
	}
	return p, d
}

// Append appends the message for p, without an IP header and authentication, to
// b. It is for tests and tools. src and dst, of one family, are for the checksum. Of
// the Interval whole seconds (v2) or steps of 10 ms (v3) are sent, and of Addresses
// 255 at most, and none of another family.
func (p *Packet) Append(b []byte, src, dst netip.Addr) []byte {
	src, dst = src.Unmap(), dst.Unmap()
	start := len(b)
	b = p.appendMessage(b, src, wireNone, "")
	p.seal(b[start:], src, dst, p.Checksum)
	return b
}

// message is what parse found beside the Packet.
type message struct {
	authType uint8  // v2
	password []byte // v2: the 8 bytes of Authentication Data; none if the sender left them out
	body     []byte // the message without the trailer
	trailer  []byte // what follows the message
}

// parse takes msg apart and checks what can be checked without a configuration.
// It reuses p.Addresses. group is a destination of which the checksum may have
// been computed instead of dst: FRR, and keepalived before 1.3.7, always take the
// group's, even if they send by unicast.
func (p *Packet) parse(msg []byte, src, dst, group netip.Addr) (m message, d Drop) {
	p.Addresses = p.Addresses[:0]
	if len(msg) < headerLen {
		return m, DropLength
	}
	p.Version, p.VRID, p.Priority, p.Checksum = Version(msg[0]>>4), msg[1], msg[2], 0
	size := 4
	if src.Is6() {
		size = 16
	}
	end := headerLen + size*int(msg[3])
	switch {
	case p.Version == V3:
		p.Interval = time.Duration(binary.BigEndian.Uint16(msg[4:])&0xfff) * centisecond
	case p.Version == V2 && size == 4:
		p.Interval = time.Duration(msg[5]) * time.Second
		m.authType = msg[4]
	default:
		p.Interval = 0
		return m, DropVersion
	}
	switch {
	case msg[0]&0xf != typeAdvert:
		return m, DropType
	case msg[3] == 0:
		return m, DropCount
	case len(msg) < end:
		return m, DropLength
	}
	for b := msg[headerLen:end]; len(b) > 0; b = b[size:] {
		a, _ := netip.AddrFromSlice(b[:size])
		p.Addresses = append(p.Addresses, a)
	}
	if p.Version == V2 {
		if len(msg) < end+passwordLen {
			return m, DropLength
		}
		m.password = msg[end : end+passwordLen]
		end += passwordLen
	}
	m.body, m.trailer = msg[:end], msg[end:]
	return m, p.verify(msg, end, src, dst, group)
}

// verify checks the checksum of msg, the message proper of which ends at end, and
// finds its form.
func (p *Packet) verify(msg []byte, end int, src, dst, group netip.Addr) Drop {
	if src.Is6() {
		// The kernel's checksum, which keepalived uses, covers a trailer too.
		if fold(onesSum(pseudoSum(src, dst, len(msg)), msg)) != 0xffff {
			return DropChecksum
		}
		return DropNone
	}
	sum := onesSum(0, msg[:end])
	if p.Version == V2 {
		if fold(sum) != 0xffff {
			return DropChecksum
		}
		return DropNone
	}
	switch {
	case fold(sum+pseudoSum(src, dst, end)) == 0xffff:
	case fold(sum) == 0xffff:
		p.Checksum = MessageOnly
	case fold(sum+pseudoSum(src, group4, end)) == 0xffff:
	case group.Is4() && fold(sum+pseudoSum(src, group, end)) == 0xffff:
	default:
		return DropChecksum
	}
	return DropNone
}

// appendMessage appends the message with a checksum of 0. Addresses of another
// family than src are left out.
func (p *Packet) appendMessage(b []byte, src netip.Addr, authType uint8, password string) []byte {
	version, start, six := p.Version, len(b), src.Is6()
	if version == 0 {
		version = V3
	}
	b = append(b, byte(version)<<4|typeAdvert, p.VRID, p.Priority, 0)
	if p.Version == V2 {
		b = append(b, authType, byte(p.Interval/time.Second), 0, 0)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(p.Interval/centisecond)&0xfff)
		b = append(b, 0, 0)
	}
	for _, a := range p.Addresses[:min(len(p.Addresses), maxAddresses)] {
		switch {
		case six && a.Is6():
			x := a.As16()
			b = append(b, x[:]...)
		case !six && a.Unmap().Is4():
			x := a.As4()
			b = append(b, x[:]...)
		default:
			continue
		}
		b[start+3]++
	}
	if p.Version == V2 {
		var x [passwordLen]byte
		copy(x[:], password)
		b = append(b, x[:]...)
	}
	return b
}

// seal puts the checksum into msg. A trailer is part of msg over IPv6 only.
func (p *Packet) seal(msg []byte, src, dst netip.Addr, form Checksum) {
	sum := onesSum(0, msg)
	if src.Is6() || p.Version != V2 && form == PseudoHeader {
		sum += pseudoSum(src, dst, len(msg))
	}
	binary.BigEndian.PutUint16(msg[checksumOff:], ^fold(sum))
}
