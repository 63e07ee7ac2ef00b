package userspace

import (
	"net/netip"

	"github.com/lvskit/lvskit/ipvs"
)

const (
	hashBits = 8 // CONFIG_IP_VS_SH_TAB_BITS, CONFIG_IP_VS_DH_TAB_BITS
	hashSize = 1 << hashBits
)

// hashTable has a destination for each value of a hash.
type hashTable [hashSize]*destination

// fill gives the entries to the destinations in turn, each as many at a time as
// share says, one at least.
func (t *hashTable) fill(dests []*destination, share func(*destination) int) {
	at, given := 0, 0
	for i := range t {
		if len(dests) == 0 {
			t[i] = nil
			continue
		}
		t[i] = dests[at]
		if given++; given >= share(dests[at]) {
			at, given = (at+1)%len(dests), 0
		}
	}
}

// destinationHash is dh (ip_vs_dh.c): by the virtual address, weights count for
// nothing but 0.
type destinationHash struct{ table hashTable }

func newDestinationHash(s *service) *destinationHash {
	h := &destinationHash{}
	h.changed(s, 0, nil)
	return h
}

func (h *destinationHash) changed(s *service, _ ipvs.ChangeOp, _ *destination) {
	h.table.fill(s.dests, func(*destination) int { return 1 })
}

func (h *destinationHash) pick(s *service, f flow) *destination {
	return usable(h.table[hash32(s.fold(f.virtual.Addr()), hashBits)])
}

// sourceHash is sh (ip_vs_sh.c): by the client's address, with ipvs.SHPort its
// port too.
type sourceHash struct{ table hashTable }

func newSourceHash(s *service) *sourceHash {
	h := &sourceHash{}
	h.changed(s, 0, nil)
	return h
}

func (h *sourceHash) changed(s *service, _ ipvs.ChangeOp, _ *destination) {
	h.table.fill(s.dests, func(d *destination) int { return d.Weight })
}

func (h *sourceHash) pick(s *service, f flow) *destination {
	at := hash32(s.clientKey(f, ipvs.SHPort), hashBits)
	d := h.table[at]
	if d.usable() || d == nil || s.Flags&ipvs.SHFallback == 0 {
		return usable(d)
	}
	for i := range uint32(hashSize) { // from twice the hash on, as the kernel goes
		if d := h.table[(2*at+i)%hashSize]; d.usable() {
			return d
		}
	}
	return nil
}

// fold is that of an address in this service.
func (s *service) fold(addr netip.Addr) uint32 {
	return fold(addr, s.ID.AddressFamily() == ipvs.IPv6)
}

// clientKey is what sh and mh hash: the address of the client and, with a flag,
// its port.
func (s *service) clientKey(f flow, port ipvs.Flags) uint32 {
	key := s.fold(f.client.Addr())
	if s.Flags&port != 0 {
		key += uint32(f.client.Port())
	}
	return key
}

// usable is available for what a table may hold: nothing, or a destination that
// was removed.
func (d *destination) usable() bool { return d != nil && !d.removed && d.available() }

func usable(d *destination) *destination {
	if d.usable() {
		return d
	}
	return nil
}
