package vrrp

import (
	"net/netip"
	"slices"
)

// addressSet is the virtual addresses of a Config, to compare others with. It is
// fast whatever is sent, for anybody can send.
type addressSet struct {
	list    []netip.Addr // as configured
	sorted  []netip.Addr
	scratch []netip.Addr
}

func (s *addressSet) config(list []netip.Addr) {
	s.list = list
	s.sorted = append(s.sorted[:0], list...)
	slices.SortFunc(s.sorted, netip.Addr.Compare)
}

// same says whether other has the same addresses, in any order.
func (s *addressSet) same(other []netip.Addr) bool {
	if slices.Equal(other, s.list) {
		return true
	}
	s.scratch = append(s.scratch[:0], other...)
	slices.SortFunc(s.scratch, netip.Addr.Compare)
	return slices.Equal(s.scratch, s.sorted)
}

// foreign says whether other has no address of ours. A link-local address counts
// as any other.
func (s *addressSet) foreign(other []netip.Addr) bool {
	for _, a := range other {
		if _, ours := slices.BinarySearchFunc(s.sorted, a, netip.Addr.Compare); ours {
			return false
		}
	}
	return true
}
