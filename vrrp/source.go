package vrrp

import "net/netip"

// chooseSource is the address of a link from which a router sends: source if the
// link has it, else the best that it has, or invalid. virtual tells which are
// virtual addresses of Routers of this Run; they are taken only for the owner of
// the addresses, whose they really are.
func chooseSource(l link, source netip.Addr, six, global, owner bool, virtual func(netip.Addr) bool) netip.Addr {
	var best netip.Addr
	bestRank := 0
	for _, a := range l.addrs {
		if a.addr.Is6() != six || a.tentative {
			continue
		}
		if source.IsValid() {
			if a.addr == source {
				return source
			}
			continue
		}
		if r := a.rank(global, owner, virtual(a.addr)); r > bestRank {
			best, bestRank = a.addr, r
		}
	}
	return best
}

// wantsGlobal tells whether an IPv6 router must send from a global address,
// because one of those it sends to cannot be reached from a link-local one.
func wantsGlobal(peers []netip.Addr) bool {
	for _, p := range peers {
		if !p.IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}

// rank is how well an address suits to send from; 0 is not at all.
func (a linkAddr) rank(global, owner, virtual bool) int {
	rank := 16
	if virtual {
		if !owner {
			return 0
		}
		rank -= 8
	}
	if a.virtual {
		rank -= 4
	}
	if a.addr.Is6() {
		if a.addr.IsLinkLocalUnicast() == global {
			return 0
		}
		if a.temporary {
			rank -= 2
		}
		return rank
	}
	if !a.global || a.addr.IsLoopback() {
		return 0
	}
	if a.secondary {
		rank -= 2
	}
	if a.bits == 32 {
		rank--
	}
	return rank
}
