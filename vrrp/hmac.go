package vrrp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"time"
)

// The trailer of draft-cassen-vrrp-auth-hmac:
//
//	0      type: 1, HMAC-SHA256 cut to 128 bits
//	1      key id
//	2-3    zero
//	4-11   sequence: Unix seconds (4), their fraction in 1/65536 (2), counter (2)
//	12-27  digest
//
// The digest covers a header of its own (family, version, VRID, source), the
// message with a zero checksum, and the trailer with a zero digest. It does not
// cover the IP header, so that it is the same for all destinations. The checksum
// covers the trailer over IPv6 only.
const (
	trailerLen       = 28
	trailerDigestOff = 12
	trailerSHA256    = 1
	pseudoLen        = 20
)

// isTrailer says whether b, what follows a message, may be a trailer.
func isTrailer(b []byte) bool { return len(b) == trailerLen }

// hmacState is what AuthHMAC remembers.
type hmacState struct {
	conf   *HMAC // nil without AuthHMAC
	active uint8
	window int32 // seconds
	keys   []hmacKey
	seq    uint64 // last sent
	seen   replayTable
	sum    [sha256.Size]byte
	pseudo [pseudoLen]byte
}

type hmacKey struct {
	id  uint8
	mac hash.Hash
}

func (s *hmacState) config(cfg *Config) {
	if cfg.Auth.Kind != AuthHMAC {
		*s = hmacState{}
		return
	}
	c := &cfg.Auth.HMAC
	s.conf, s.active, s.window = c, c.Active, int32(c.Window/time.Second)
	s.keys = s.keys[:0]
	for _, k := range c.Keys {
		s.keys = append(s.keys, hmacKey{id: k.ID, mac: hmac.New(sha256.New, k.Secret)})
	}
	s.seen.room(cfg)
}

// key finds a key. There are few.
func (s *hmacState) key(id uint8) hash.Hash {
	for i := range s.keys {
		if s.keys[i].id == id {
			return s.keys[i].mac
		}
	}
	return nil
}

// digest computes the digest of body, a message, and trailer into s.sum.
func (s *hmacState) digest(mac hash.Hash, src netip.Addr, body, trailer []byte) []byte {
	clear(s.pseudo[:])
	s.pseudo[1], s.pseudo[2] = body[0]>>4, body[1]
	if src.Is4() {
		a := src.As4()
		s.pseudo[0] = 4
		copy(s.pseudo[4:], a[:])
	} else {
		a := src.As16()
		s.pseudo[0] = 6
		copy(s.pseudo[4:], a[:])
	}
	mac.Reset()
	mac.Write(s.pseudo[:])
	mac.Write(body[:checksumOff])
	mac.Write(zeroes[:2])
	mac.Write(body[headerLen:])
	mac.Write(trailer[:trailerDigestOff])
	mac.Write(zeroes[:])
	return mac.Sum(s.sum[:0])[:trailerLen-trailerDigestOff]
}

var zeroes [trailerLen - trailerDigestOff]byte

// check checks the trailer of m.
func (s *hmacState) check(h header, m *message, now time.Time) Drop {
	t := m.trailer
	switch {
	case len(t) == 0 && s.conf.Mode == HMACEnforce, len(t) > 0 && t[0] != trailerSHA256:
		return DropAuthType
	case len(t) == 0:
		return DropNone
	}
	mac := s.key(t[1])
	if mac == nil || t[2] != 0 || t[3] != 0 || !hmac.Equal(s.digest(mac, h.src, m.body, t), t[trailerDigestOff:]) {
		return DropAuthData
	}
	seq := binary.BigEndian.Uint64(t[4:])
	if !s.conf.NoWindow && s.outside(seq, now) {
		return DropClock
	}
	mark, known := s.seen.mark(h.src)
	// A mark outside the window comes from before a step of a clock, and what it
	// orders is stale anyway.
	if known && !(!s.conf.NoWindow && s.outside(*mark, now)) && !after(seq, *mark) {
		return DropReplay
	}
	*mark = seq
	return DropNone
}

// outside says whether the seconds of seq are further from now than the window.
func (s *hmacState) outside(seq uint64, now time.Time) bool {
	d := int32(uint32(now.Unix()) - uint32(seq>>32))
	return d > s.window || d < -s.window
}

// after compares as RFC 1982 does.
func after(a, b uint64) bool { return int64(a-b) > 0 }

// next is the sequence to send: the clock, or one more than the last if the clock
// has not gone on. A clock that was set back by more than the window starts
// again, because nobody would accept the old sequence.
func (s *hmacState) next(now time.Time) uint64 {
	clock := uint64(uint32(now.Unix()))<<32 | uint64(now.Nanosecond())<<16/1e9<<16
	if s.seq == 0 || after(clock, s.seq) || !s.conf.NoWindow && s.outside(s.seq, now) {
		s.seq = clock
	} else {
		s.seq++
	}
	return s.seq
}

func (s *hmacState) encode(b []byte, p *Packet, src, dst netip.Addr, form Checksum, now time.Time) []byte {
	start := len(b)
	b = p.appendMessage(b, src, wireNone, "")
	end := len(b)
	if s.conf.Mode != HMACReceive {
		b = append(b, trailerSHA256, s.active, 0, 0)
		b = binary.BigEndian.AppendUint64(b, s.next(now))
		b = append(b, zeroes[:]...)
		copy(b[end+trailerDigestOff:], s.digest(s.key(s.active), src, b[start:end], b[end:]))
	}
	if src.Is4() {
		p.seal(b[start:end], src, dst, form)
	} else {
		p.seal(b[start:], src, dst, form)
	}
	return b
}
