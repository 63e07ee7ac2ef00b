package nat

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// A published port is an element of one map for each family, with a counter:
//
//	address . protocol . port : address . port
//
// Its comment has what the element does not tell of its rule: the name, the range
// that it is a part of, the hairpin.

var portTypes = []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService}

func addrType(v6 bool) nftables.SetDatatype {
	if v6 {
		return nftables.TypeIP6Addr
	}
	return nftables.TypeIPAddr
}

func publishMap(t *nftables.Table, v6 bool) *nftables.Set {
	name := "published4"
	if v6 {
		name = "published6"
	}
	a := addrType(v6)
	return &nftables.Set{
		Table: t, Name: name, IsMap: true, Concatenation: true, Counter: true,
		KeyType:  nftables.MustConcatSetType(a, portTypes[0], portTypes[1]),
		DataType: nftables.MustConcatSetType(a, portTypes[1]),
	}
}

// lookup is the rule that looks a packet up in the map.
func lookup(s *nftables.Set, v6 bool) []expr.Any {
	m := match{v6: v6}
	words := uint32(1)
	if v6 {
		words = 4
	}
	m.meta(expr.MetaKeyNFPROTO, []byte{m.nfproto()})
	m.add(
		m.payload(16, 24),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(words)},
		&expr.Payload{DestRegister: register(words + 1), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: regA, DestRegister: regB, IsDestRegSet: true, SetName: s.Name, SetID: s.ID},
		&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: uint32(m.nfproto()), RegAddrMin: regB, RegAddrMax: regB,
			RegProtoMin: register(8 + words), RegProtoMax: register(8 + words), Specified: true,
		},
	)
	return m.exprs
}

// What is masqueraded as hairpin is an element of a set for each family and length of
// network, network . address: connections from there to there that were sent on by
// DNAT.

// encode is what the rule of such a set has as user data.
func (l hairpinLength) encode() []byte {
	if l.v6 {
		return []byte{6, byte(l.bits)}
	}
	return []byte{4, byte(l.bits)}
}

func decodeLength(b []byte) hairpinLength {
	if len(b) != 2 || b[1] > 128 || b[0] == 4 && b[1] > 32 {
		return hairpinLength{}
	}
	return hairpinLength{b[0] == 6, int(b[1])}
}

func hairpinSet(t *nftables.Table, l hairpinLength) *nftables.Set {
	name := "hairpin4_"
	if l.v6 {
		name = "hairpin6_"
	}
	a := addrType(l.v6)
	return &nftables.Set{
		Table: t, Name: name + strconv.Itoa(l.bits), Concatenation: true,
		KeyType: nftables.MustConcatSetType(a, a),
	}
}

// hairpins are the elements that rules have in these sets.
func hairpins[R interface{ rule() Rule }](list []R) map[hairpinLength]map[string]bool {
	sets := map[hairpinLength]map[string]bool{}
	for i := range list {
		r := list[i].rule()
		if !r.Hairpin.IsValid() {
			continue
		}
		l := hairpinLength{r.Hairpin.Addr().Is6(), r.Hairpin.Bits()}
		if sets[l] == nil {
			sets[l] = map[string]bool{}
		}
		sets[l][string(append(r.Hairpin.Addr().AsSlice(), r.To.AsSlice()...))] = true
	}
	return sets
}

func (r Rule) rule() Rule { return r }

// dstNAT is IPS_DST_NAT (include/uapi/linux/netfilter/nf_conntrack_common.h).
const dstNAT = 1 << 5

// masquerade is the rule of such a set.
func masquerade(s *nftables.Set, l hairpinLength) []expr.Any {
	m := match{v6: l.v6}
	size, any := uint32(4), netip.IPv4Unspecified()
	if l.v6 {
		size, any = 16, netip.IPv6Unspecified()
	}
	dst := m.payload(16, 24).(*expr.Payload)
	dst.DestRegister = register(size / 4)
	flag, zero := binary.NativeEndian.AppendUint32(nil, dstNAT), make([]byte, 4)
	m.meta(expr.MetaKeyNFPROTO, []byte{m.nfproto()})
	m.add(
		&expr.Ct{Register: regA, Key: expr.CtKeySTATUS},
		&expr.Bitwise{SourceRegister: regA, DestRegister: regA, Len: 4, Mask: flag, Xor: zero},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regA, Data: zero},
		m.payload(12, 8),
		&expr.Bitwise{SourceRegister: regA, DestRegister: regA, Len: size, Mask: mask(netip.PrefixFrom(any, l.bits)), Xor: make([]byte, size)},
		dst,
		&expr.Lookup{SourceRegister: regA, SetName: s.Name, SetID: s.ID},
		&expr.Counter{},
		&expr.Masq{},
	)
	return m.exprs
}

// appendEnd appends an address, a protocol unless it is zero, and a port, each in
// as many words as it needs.
func appendEnd(b []byte, a netip.AddrPort, p Protocol) []byte {
	b = append(b, a.Addr().AsSlice()...)
	if p != 0 {
		b = append(b, byte(p), 0, 0, 0)
	}
	return append(binary.BigEndian.AppendUint16(b, a.Port()), 0, 0)
}

// element is what an exact rule has in the map for one of its ports.
func (r Rule) element(p published, to netip.AddrPort) nftables.SetElement {
	return nftables.SetElement{
		Key:     appendEnd(nil, netip.AddrPortFrom(p.addr, p.port), p.protocol),
		Val:     appendEnd(nil, to, 0),
		Comment: r.comment(),
	}
}

// comment is what the elements do not tell of an exact rule.
func (r Rule) comment() string {
	var words []string
	if r.Name != "" {
		words = append(words, "name "+r.Name)
	}
	if r.DestinationPort.Len() > 1 {
		words = append(words, "shift "+r.DestinationPort.String()+" "+r.ToPort.String())
	}
	if r.Hairpin.IsValid() {
		words = append(words, "hairpin "+r.Hairpin.String())
	}
	return strings.Join(words, " ")
}

// exactRule is the rule that an element belongs to.
func exactRule(key, val []byte, comment string) (r Rule, err error) {
	dst, protocol, ok := cutEnd(key, true)
	to, _, okTo := cutEnd(val, false)
	if !ok || !okTo {
		return r, invalidf("an element of %d and %d bytes", len(key), len(val))
	}
	r = Rule{
		Action: DNAT, Protocol: protocol, Destination: prefixOf(dst.Addr()), DestinationPort: Port(dst.Port()),
		To: to.Addr(), ToPort: Port(to.Port()),
	}
	words := strings.Fields(comment)
	for len(words) > 1 && err == nil {
		switch n := 2; words[0] {
		case "name":
			r.Name, words = words[1], words[n:]
		case "hairpin":
			r.Hairpin, err = netip.ParsePrefix(words[1])
			words = words[n:]
		case "shift":
			if n++; len(words) < n {
				return r, invalidf("comment %q", comment)
			}
			if r.DestinationPort, err = parsePorts(words[1]); err == nil {
				r.ToPort, err = parsePorts(words[2])
			}
			words = words[n:]
		default:
			return r, invalidf("comment %q", comment)
		}
	}
	return r.normal(), err
}

// cutEnd reads what appendEnd wrote.
func cutEnd(b []byte, protocol bool) (a netip.AddrPort, p Protocol, ok bool) {
	n := len(b) - 4
	if protocol {
		n -= 4
	}
	if n < 0 {
		return a, 0, false
	}
	addr, ok := netip.AddrFromSlice(b[:n])
	if protocol {
		p = Protocol(b[n])
		n += 4
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[n:])), p, ok
}
