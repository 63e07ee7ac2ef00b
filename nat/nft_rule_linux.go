package nat

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
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

// expressions are what a rule is to the kernel. shift is the map of a shifted range
// of ports, nil for a rule without.
func (r Rule) expressions(shift *nftables.Set) []expr.Any {
	m := match{v6: r.family() == IPv6}
	m.meta(expr.MetaKeyNFPROTO, []byte{m.nfproto()})
	if r.Protocol != 0 {
		m.meta(expr.MetaKeyL4PROTO, []byte{byte(r.Protocol)})
	}
	if r.In != "" {
		m.meta(expr.MetaKeyIIFNAME, interfaceName(r.In))
	}
	if r.Out != "" {
		m.meta(expr.MetaKeyOIFNAME, interfaceName(r.Out))
	}
	m.network(r.Source, m.payload(12, 8))
	m.network(r.Destination, m.payload(16, 24))
	m.ports(r.SourcePort, transport(0))
	m.ports(r.DestinationPort, transport(2))
	m.network(r.Original, &expr.Ct{Register: regA, Key: expr.CtKeyDST})
	m.ports(r.OriginalPort, &expr.Ct{Register: regA, Key: expr.CtKeyPROTODST})
	m.add(&expr.Counter{})
	m.target(r, shift)
	return m.exprs
}

// match is a rule that is being put together.
type match struct {
	v6    bool
	exprs []expr.Any
}

func (m *match) add(e ...expr.Any) { m.exprs = append(m.exprs, e...) }

func (m *match) nfproto() byte {
	if m.v6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

func (m *match) meta(key expr.MetaKey, want []byte) {
	m.add(&expr.Meta{Key: key, Register: regA}, &expr.Cmp{Op: expr.CmpOpEq, Register: regA, Data: want})
}

// interfaceName is padded with zeros, so that no longer name matches.
func interfaceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// payload loads an address of the IP header, which is at another place in each
// family.
func (m *match) payload(v4, v6 uint32) expr.Any {
	p := &expr.Payload{DestRegister: regA, Base: expr.PayloadBaseNetworkHeader, Offset: v4, Len: 4}
	if m.v6 {
		p.Offset, p.Len = v6, 16
	}
	return p
}

func transport(offset uint32) expr.Any {
	return &expr.Payload{DestRegister: regA, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}
}

// network wants an address that load loads in a network.
func (m *match) network(p netip.Prefix, load expr.Any) {
	if !p.IsValid() {
		return
	}
	m.add(load)
	addr := p.Addr().AsSlice()
	if !p.IsSingleIP() {
		n := uint32(len(addr))
		m.add(&expr.Bitwise{SourceRegister: regA, DestRegister: regA, Len: n, Mask: mask(p), Xor: make([]byte, n)})
	}
	m.add(&expr.Cmp{Op: expr.CmpOpEq, Register: regA, Data: addr})
}

func mask(p netip.Prefix) []byte {
	b := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return b
}

// ports wants a port that load loads in a range.
func (m *match) ports(p Ports, load expr.Any) {
	switch {
	case p == Ports{}:
	case p.Len() == 1:
		m.add(load, &expr.Cmp{Op: expr.CmpOpEq, Register: regA, Data: port(p.First)})
	default:
		m.add(load, &expr.Range{Op: expr.CmpOpEq, Register: regA, FromData: port(p.First), ToData: port(p.Last)})
	}
}

func port(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// target rewrites.
func (m *match) target(r Rule, shift *nftables.Set) {
	var addr, first, last uint32 // registers
	if r.To.IsValid() {
		addr = regB
		m.add(&expr.Immediate{Register: regB, Data: r.To.AsSlice()})
	}
	switch n := r.ToPort.Len(); {
	case shift != nil:
		first, last = regC, regC
		m.add(transport(2), &expr.Lookup{SourceRegister: regA, DestRegister: regC, IsDestRegSet: true, SetName: shift.Name, SetID: shift.ID})
	case n > 0:
		first, last = regC, regC
		m.add(&expr.Immediate{Register: regC, Data: port(r.ToPort.First)})
		if n > 1 {
			last = regD
			m.add(&expr.Immediate{Register: regD, Data: port(r.ToPort.Last)})
		}
	}
	switch r.Action {
	case Masquerade:
		m.add(&expr.Masq{FullyRandom: r.Random, ToPorts: first != 0, RegProtoMin: first, RegProtoMax: last})
	case Redirect:
		m.add(&expr.Redir{RegisterProtoMin: first, RegisterProtoMax: last, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED})
	default:
		kind := expr.NATTypeDestNAT
		if r.Action == SNAT {
			kind = expr.NATTypeSourceNAT
		}
		m.add(&expr.NAT{
			Type: kind, Family: uint32(m.nfproto()), RegAddrMin: addr, RegAddrMax: addr,
			RegProtoMin: first, RegProtoMax: last, Specified: first != 0, FullyRandom: r.Random,
		})
	}
}
