package userspace

import (
	"fmt"
	"io/fs"
	"math/bits"

	"github.com/lvskit/lvskit/ipvs"
)

const (
	maglevSize  = 4093 // the prime of CONFIG_IP_VS_MH_TAB_INDEX=12
	maglevBits  = 6    // of a weight; half of that index
	maglevFirst = 2654435761
	maglevSkip  = 2654446892
)

// maglev is mh (ip_vs_mh.c; Eisenbud and others: Maglev, NSDI 2016, 3.4): every
// destination has an order of preference of the table's entries, and they choose
// in turn. Removing one changes few of the others' entries. A destination of
// weight 0 keeps the entries that its last weight gave it.
type maglev struct {
	table [maglevSize]*destination
	stale bool // the destinations have changed since the table was filled
	turns []maglevTurn
}

// maglevTurn is a destination while the table is filled.
type maglevTurn struct {
	at, skip int // the next entry it prefers, and the way to the one after
	n        int // entries at a time
}

// tooManyForMaglev says that mh has not as many entries as there are
// destinations. It matches fs.ErrInvalid.
type tooManyForMaglev int

func (n tooManyForMaglev) Error() string {
	return fmt.Sprintf("%d real servers are too many for the scheduler mh: use %d at most, or another scheduler", int(n), maglevSize)
}

func (tooManyForMaglev) Is(target error) bool { return target == fs.ErrInvalid }

// changed has the table filled before the next choice, not at each change: a
// service of a thousand destinations is filled once. Beyond its size the kernel
// leaves the table as it is.
func (m *maglev) changed(s *service, _ ipvs.ChangeOp, _ *destination) {
	switch n := len(s.dests); {
	case n < maglevSize:
		m.stale = true
	case n == maglevSize:
		m.fill(s)
	}
}

func (m *maglev) pick(s *service, f flow) *destination {
	if m.stale {
		m.fill(s)
	}
	key := s.clientKey(f, ipvs.MHPort)
	at := maglevHash(key, maglevFirst) % maglevSize
	d := m.table[at]
	if d.usable() || d == nil || s.Flags&ipvs.MHFallback == 0 {
		return usable(d)
	}
	for i := range uint32(maglevSize) {
		if d := m.table[maglevHash(key+(at+i)%maglevSize, maglevFirst)%maglevSize]; d.usable() {
			return d
		}
	}
	return nil
}

// fill lets the destinations choose their entries.
func (m *maglev) fill(s *service) {
	m.stale = false
	if !m.prepare(s) {
		clear(m.table[:])
		return
	}
	var taken [maglevSize]bool
	for left := maglevSize; ; {
		for i := range m.turns {
			t := &m.turns[i]
			for range t.n {
				for taken[t.at] {
					t.at = (t.at + t.skip) % maglevSize
				}
				taken[t.at], m.table[t.at] = true, s.dests[i]
				if left--; left == 0 {
					return
				}
			}
		}
	}
}

// prepare computes the preferences. It is false if nobody ever had a weight.
func (m *maglev) prepare(s *service) bool {
	divisor, most := 0, 0
	for _, d := range s.dests {
		divisor, most = gcd(divisor, d.lastWeight), max(most, d.lastWeight)
	}
	if divisor == 0 {
		return false
	}
	shift := max(bits.Len(uint(most/divisor))-maglevBits, 0)
	m.turns = m.turns[:0]
	for _, d := range s.dests {
		key := s.fold(d.Addr.Addr()) + uint32(d.Addr.Port())
		t := maglevTurn{
			at:   int(maglevHash(key, maglevFirst) % maglevSize),
			skip: int(maglevHash(key, maglevSkip)%(maglevSize-1)) + 1,
			n:    d.lastWeight / divisor >> shift,
		}
		if t.n == 0 && d.lastWeight != 0 {
			t.n = 1
		}
		m.turns = append(m.turns, t)
	}
	return true
}

// maglevHash is the hash of mh, whose keys have two equal halves.
func maglevHash(v uint32, key uint64) uint32 { return hsiphash(v, key, key) }
