package nat

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"slices"
	"testing"
)

// The packets of the tests: the first one of a connection, and the answer to it. Each
// has a tag by which it is known again, whatever has become of its addresses.

const (
	icmp4, icmp6 Protocol = 1, 58
	gre          Protocol = 47
)

// request and answer are the two directions of a connection.
const (
	request byte = 1 + iota
	answer
)

const ipv6Header = 40

const initiateTag = 0x12345678 // of SCTP

// castagnoli is the checksum of SCTP (RFC 9260, appendix A).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is a packet with what the tests know it by.
type frame struct {
	packet
	tag       uint64 // zero: none
	direction byte
	bad       bool // a checksum is wrong
}

// encode is the whole IP packet.
func (f frame) encode() []byte {
	body := f.body()
	b := make([]byte, 20, 100)
	src, dst := f.src.Addr(), f.dst.Addr()
	if !f.v6() {
		b[0], b[8], b[9] = 0x45, 64, byte(f.protocol)
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
		copy(b[12:], src.AsSlice())
		copy(b[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(b[10:], ^sum(b, 0))
	} else {
		b = b[:ipv6Header]
		b[0], b[6], b[7] = 0x60, byte(f.protocol), 64
		binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
		copy(b[8:], src.AsSlice())
		copy(b[24:], dst.AsSlice())
	}
	switch at := checksumAt(f.protocol); {
	case f.protocol == SCTP:
		binary.LittleEndian.PutUint32(body[8:], crc32.Checksum(body, castagnoli))
	case at >= 0:
		check := ^sum(body, pseudo(f.protocol, src, dst, len(body)))
		if check == 0 && f.protocol == UDP {
			check = 0xffff
		}
		binary.BigEndian.PutUint16(body[at:], check)
	}
	return append(b, body...)
}

// body is what comes after the IP header, without its checksum.
func (f frame) body() []byte {
	b := make([]byte, headerSize(f.protocol), 40)
	tail := binary.BigEndian.AppendUint64([]byte{f.direction}, f.tag)
	binary.BigEndian.PutUint16(b, f.src.Port())
	binary.BigEndian.PutUint16(b[2:], f.dst.Port())
	switch f.protocol {
	case TCP:
		binary.BigEndian.PutUint32(b[4:], 1)
		b[12], b[13], b[14] = 5<<4, 0x02, 0x20 // SYN
		if f.direction == answer {
			binary.BigEndian.PutUint32(b[8:], uint32(2+len(tail)))
			b[13] = 0x12 // SYN, ACK
		}
	case UDP:
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)+len(tail)))
	case gre:
		b[0], b[1], b[2], b[3] = 0, 0, 0x88, 0xb5
	case SCTP: // INIT and INIT ACK (RFC 9260, section 3.3.2), with one tag for both sides
		if f.direction == answer {
			binary.BigEndian.PutUint32(b[4:], initiateTag)
		}
		b[12] = f.direction
		binary.BigEndian.PutUint16(b[14:], uint16(len(b)-12+len(tail)))
		binary.BigEndian.PutUint32(b[16:], initiateTag)
		b[25], b[27] = 1, 1
	default:
		types := map[Protocol][3]byte{icmp4: {request: 8, answer: 0}, icmp6: {request: 128, answer: 129}}
		id := f.src.Port()
		if f.direction == answer {
			id = f.dst.Port()
		}
		clear(b)
		b[0] = types[f.protocol][f.direction]
		binary.BigEndian.PutUint16(b[4:], id)
	}
	return append(b, tail...)
}

// decodeFrame reads an IP packet; ok is false for what is none of the tests'.
func decodeFrame(b []byte) (f frame, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		return decodeBody(Protocol(b[9]), src, dst, b[int(b[0]&15)*4:])
	case len(b) >= ipv6Header && b[0]>>4 == 6:
		src, dst := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		return decodeBody(Protocol(b[6]), src, dst, b[ipv6Header:])
	}
	return f, false
}

func decodeBody(p Protocol, src, dst netip.Addr, b []byte) (f frame, ok bool) {
	f.protocol = p
	size := headerSize(p)
	if size == 0 || len(b) < size {
		return f, false
	}
	var from, to uint16
	switch p {
	case TCP, UDP, SCTP:
		from, to = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	case icmp4, icmp6:
		switch b[0] {
		case 8, 128:
			from = binary.BigEndian.Uint16(b[4:])
		case 0, 129:
			to = binary.BigEndian.Uint16(b[4:])
		default:
			return f, false
		}
		f.direction = map[byte]byte{8: request, 128: request, 0: answer, 129: answer}[b[0]]
	}
	f.src, f.dst = netip.AddrPortFrom(src, from), netip.AddrPortFrom(dst, to)
	switch at := checksumAt(p); {
	case p == SCTP:
		check := binary.LittleEndian.Uint32(b[8:])
		b = slices.Concat(b[:8], make([]byte, 4), b[12:])
		f.bad = crc32.Checksum(b, castagnoli) != check
	case at >= 0:
		f.bad = sum(b, pseudo(p, src, dst, len(b))) != 0xffff
	}
	if p == TCP {
		size = int(b[12]>>4) * 4
	}
	if len(b) >= size+9 {
		f.tag = binary.BigEndian.Uint64(b[size+1:])
		if f.direction == 0 {
			f.direction = b[size]
		}
		return f, true
	}
	f.direction = answer // that of a kernel without a listener
	return f, p == TCP && b[13]&0x04 != 0
}

// headerSize is that of a protocol of the tests, 0 for others.
func headerSize(p Protocol) int {
	return map[Protocol]int{TCP: 20, UDP: 8, SCTP: 32, icmp4: 8, icmp6: 8, gre: 4}[p]
}

// checksumAt is where its header has the checksum.
func checksumAt(p Protocol) int {
	switch p {
	case TCP:
		return 16
	case UDP:
		return 6
	case icmp4, icmp6:
		return 2
	}
	return -1
}

// pseudo begins a checksum with the pseudo header (RFC 9293, section 3.1; RFC 8200,
// section 8.1).
func pseudo(p Protocol, src, dst netip.Addr, size int) uint32 {
	if p == icmp4 {
		return 0
	}
	return uint32(sum(src.AsSlice(), 0)) + uint32(sum(dst.AsSlice(), 0)) + uint32(p) + uint32(size)
}

// sum is the sum of RFC 1071, not inverted.
func sum(b []byte, s uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func TestFramesReadAsTheyAreWritten(t *testing.T) {
	for _, ends := range [][2]string{{"12.0.0.12:2000", "192.168.160.100:80"}, {"[2001:db8::12]:2000", "[fd00::100]:80"}} {
		src, dst := netip.MustParseAddrPort(ends[0]), netip.MustParseAddrPort(ends[1])
		for _, p := range []Protocol{TCP, UDP, SCTP, icmp4, gre} {
			for _, direction := range []byte{request, answer} {
				f := frame{packet: packet{protocol: p, src: src, dst: dst}, tag: 1 << 60, direction: direction}
				switch {
				case p == icmp4 && direction == request:
					f.dst = withPort(dst, 0)
				case p == icmp4:
					f.src = withPort(src, 0)
				case p == gre:
					f.src, f.dst = withPort(src, 0), withPort(dst, 0)
				}
				if p == icmp4 && src.Addr().Is6() {
					f.protocol = icmp6
				}
				b := f.encode()
				if got, ok := decodeFrame(b); !ok || got != f {
					t.Errorf("wrote %+v, read %+v", f, got)
				}
				if p == gre {
					continue
				}
				b[len(b)-1] ^= 1
				if got, ok := decodeFrame(b); !ok || !got.bad {
					t.Errorf("a spoiled %s is not found out", f.packet)
				}
			}
		}
	}
}
