package nat

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Registers, by the first of their words of 4 bytes. Matches use the first ones,
// targets the last, so that none overwrites another.
var (
	regA = register(0)  // an address, the name of an interface, or a key
	regB = register(8)  // an address of a target
	regC = register(12) // its port
	regD = register(13) // its last port
)

// register is the number of a register of 4 bytes, in the form that the kernel gives
// back: one where 16 bytes begin has the number of those
// (include/uapi/linux/netfilter/nf_tables.h, NFT_REG_1, NFT_REG32_00).
func register(word uint32) uint32 {
	if word%4 == 0 {
		return unix.NFT_REG_1 + word/4
	}
	return unix.NFT_REG32_00 + word
}

// rule writes the expressions of a rule.
func (w *nftWire) rule(r *Rule) {
	m := match{w, r.family() == IPv6}
	m.meta(unix.NFT_META_NFPROTO, []byte{m.nfproto()})
	if r.Protocol != 0 {
		m.meta(unix.NFT_META_L4PROTO, []byte{byte(r.Protocol)})
	}
	if r.In != "" {
		m.meta(unix.NFT_META_IIFNAME, interfaceName(r.In))
	}
	if r.Out != "" {
		m.meta(unix.NFT_META_OIFNAME, interfaceName(r.Out))
	}
	m.network(r.Source, m.source)
	m.network(r.Destination, m.destination)
	m.ports(r.SourcePort, func() { m.transport(0, regA) })
	m.ports(r.DestinationPort, func() { m.transport(2, regA) })
	m.network(r.Original, func(to uint32) { w.ct(unix.NFT_CT_DST, to) })
	m.ports(r.OriginalPort, func() { w.ct(unix.NFT_CT_PROTO_DST, regA) })
	w.counter()
	m.target(r)
}

// match is a rule of one family that is being written.
type match struct {
	*nftWire
	v6 bool
}

func (m match) nfproto() byte {
	if m.v6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

func (m match) meta(key uint32, want []byte) {
	m.nftWire.meta(key, regA)
	m.cmp(unix.NFT_CMP_EQ, regA, want)
}

// interfaceName is padded with zeros, so that no longer name matches.
func interfaceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// source and destination load an address of the IP header.
func (m match) source(to uint32)      { m.address(to, 12, 8) }
func (m match) destination(to uint32) { m.address(to, 16, 24) }

func (m match) address(to, at4, at6 uint32) {
	if m.v6 {
		m.payload(to, unix.NFT_PAYLOAD_NETWORK_HEADER, at6, 16)
	} else {
		m.payload(to, unix.NFT_PAYLOAD_NETWORK_HEADER, at4, 4)
	}
}

// transport loads a port.
func (m match) transport(at, to uint32) {
	m.payload(to, unix.NFT_PAYLOAD_TRANSPORT_HEADER, at, 2)
}

// network wants an address that load loads in a network.
func (m match) network(p netip.Prefix, load func(to uint32)) {
	if !p.IsValid() {
		return
	}
	load(regA)
	if !p.IsSingleIP() {
		m.bitwise(regA, mask(p))
	}
	m.cmp(unix.NFT_CMP_EQ, regA, p.Addr().AsSlice())
}

func mask(p netip.Prefix) []byte {
	b := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return b
}

// ports wants a port that load loads in a range.
func (m match) ports(p Ports, load func()) {
	switch n := p.Len(); {
	case n == 1:
		load()
		m.cmp(unix.NFT_CMP_EQ, regA, port(p.First))
	case n > 1:
		load()
		m.between(regA, port(p.First), port(p.Last))
	}
}

func port(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// target rewrites.
func (m match) target(r *Rule) {
	n := rewrite{action: r.Action, family: m.nfproto(), random: r.Random}
	if r.To.IsValid() {
		n.addr = regB
		m.immediate(regB, r.To.AsSlice())
	}
	switch size := r.ToPort.Len(); {
	case r.shifts():
		n.first, n.last = regC, regC
		m.transport(2, regA)
		m.lookup(anonymousMap, regA, regC)
	case size > 0:
		n.first, n.last = regC, regC
		m.immediate(regC, port(r.ToPort.First))
		if size > 1 {
			n.last = regD
			m.immediate(regD, port(r.ToPort.Last))
		}
	}
	m.rewrite(n)
}

// publishing looks a packet up in the map of exact rules.
func (w *nftWire) publishing(v6 bool) {
	m, words := match{w, v6}, uint32(1)
	if v6 {
		words = 4
	}
	m.meta(unix.NFT_META_NFPROTO, []byte{m.nfproto()})
	m.destination(regA)
	w.meta(unix.NFT_META_L4PROTO, register(words))
	m.transport(2, register(words+1))
	m.lookup(publishedMap(v6), regA, regB)
	to := register(8 + words)
	m.rewrite(rewrite{action: DNAT, family: m.nfproto(), addr: regB, first: to, last: to})
}

// dstNAT is IPS_DST_NAT (include/uapi/linux/netfilter/nf_conntrack_common.h).
const dstNAT = 1 << 5

// hairpin masquerades what is in the set of hairpins of networks of that length.
func (w *nftWire) hairpin(l hairpinLength) {
	m, any := match{w, l.v6}, netip.IPv4Unspecified()
	if l.v6 {
		any = netip.IPv6Unspecified()
	}
	m.meta(unix.NFT_META_NFPROTO, []byte{m.nfproto()})
	m.ct(unix.NFT_CT_STATUS, regA)
	m.bitwise(regA, binary.NativeEndian.AppendUint32(nil, dstNAT))
	m.cmp(unix.NFT_CMP_NEQ, regA, make([]byte, 4))
	m.source(regA)
	m.bitwise(regA, mask(netip.PrefixFrom(any, l.bits)))
	m.destination(register(uint32(any.BitLen()) / 32))
	m.lookup(l.set(), regA, 0)
	m.counter()
	m.rewrite(rewrite{action: Masquerade})
}
