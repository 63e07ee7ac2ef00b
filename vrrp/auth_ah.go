package vrrp

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"hash"
	"net/netip"
	"time"
)

// The Authentication Header (RFC 2402) as keepalived uses it: the SPI is the
// sender's address, and the digest has 96 bits. It covers the IP header with
// those fields zero that routers may change, the AH header with a zero digest,
// and the message. The TTL is one of those fields by unicast only; to a group it
// is covered as the 255 that it must be.
const (
	ahLen       = 24
	ahDigestOff = 12
	ahDigestLen = 12
	ahWords     = ahLen/4 - 2
)

// ahState is what AuthAH remembers.
type ahState struct {
	mac hash.Hash // nil without AuthAH
	key [passwordLen]byte
	sum [md5.Size]byte
	ip  [60]byte
	ah  [ahLen]byte
	// seq is the highest number sent or seen: keepalived has one counter for all
	// senders of a virtual router, and accepts only what is above it.
	seq  uint32
	seen replayTable
}

func (s *ahState) config(cfg *Config) {
	if cfg.Auth.Kind != AuthAH {
		*s = ahState{}
		return
	}
	var key [passwordLen]byte
	copy(key[:], cfg.Auth.Password)
	if s.mac == nil || s.key != key {
		// The key has 8 bytes, with zeroes at the end: to HMAC the same as without them.
		s.key, s.mac = key, hmac.New(md5.New, key[:])
	}
	s.seen.room(cfg)
}

// openAH gives the message inside AH.
func openAH(b []byte) ([]byte, Drop) {
	switch {
	case len(b) < ahLen+headerLen:
		return nil, DropLength
	case b[0] != protocolVRRP:
		return nil, DropType
	case b[1] != ahWords:
		return nil, DropLength
	}
	return b[ahLen:], DropNone
}

// check checks digest, SPI and sequence number of outer, an AH header with the
// message behind it.
func (s *ahState) check(h header, outer []byte) Drop {
	if len(h.ip) < 20 || len(h.ip) > len(s.ip) || !h.src.Is4() {
		return DropAuthData
	}
	ip := s.ip[:copy(s.ip[:], h.ip)]
	maskIP(ip, h.multicast)
	s.digest(ip, outer)
	src := h.src.As4()
	if !hmac.Equal(s.sum[:ahDigestLen], outer[ahDigestOff:ahLen]) || [4]byte(outer[4:]) != src {
		return DropAuthData
	}
	seq := binary.BigEndian.Uint32(outer[8:])
	mark, known := s.seen.mark(h.src)
	if known && uint64(seq) <= *mark {
		return DropReplay
	}
	*mark = uint64(seq)
	s.seq = max(s.seq, seq)
	return DropNone
}

// maskIP zeroes what the digest does not cover: type of service, flags and
// fragment offset, checksum, and by unicast the TTL.
func maskIP(ip []byte, multicast bool) {
	ip[1] = 0
	ip[6], ip[7] = 0, 0
	ip[10], ip[11] = 0, 0
	if !multicast {
		ip[8] = 0
	}
}

// digest computes the digest of outer behind the masked IP header ip into s.sum.
func (s *ahState) digest(ip, outer []byte) {
	copy(s.ah[:], outer[:ahDigestOff])
	clear(s.ah[ahDigestOff:])
	s.mac.Reset()
	s.mac.Write(ip)
	s.mac.Write(s.ah[:])
	s.mac.Write(outer[ahLen:])
	s.mac.Sum(s.sum[:0])
}

func (s *ahState) encode(b []byte, p *Packet, src, dst netip.Addr, now time.Time) []byte {
	// A sequence that starts with the time in seconds grows over restarts too: with at
	// most about one advertisement a second it stays behind the clock.
	if s.seq == 0 {
		s.seq = uint32(now.Unix())
	}
	s.seq++
	start := len(b)
	b = append(b, protocolVRRP, ahWords, 0, 0)
	from, to := src.As4(), dst.As4()
	b = append(b, from[:]...)
	b = binary.BigEndian.AppendUint32(b, s.seq)
	b = append(b, make([]byte, ahDigestLen)...)
	b = p.appendMessage(b, src, wireAH, "")
	outer := b[start:]
	p.seal(outer[ahLen:], src, dst, 0)

	ip := s.ip[:20]
	clear(ip)
	ip[0], ip[8], ip[9] = 0x45, 255, protocolAH
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(outer)))
	copy(ip[12:], from[:])
	copy(ip[16:], to[:])
	maskIP(ip, dst.IsMulticast())
	s.digest(ip, outer)
	copy(outer[ahDigestOff:ahLen], s.sum[:])
	return b
}
