package nat

import (
	"bytes"
	"strings"

	"golang.org/x/sys/unix"
)

// What rules are made of, by include/uapi/linux/netfilter/nf_tables.h.

// expr begins an expression; endExpr ends it.
func (w *nftWire) expr(name string) (at [2]int) {
	at[0] = w.nest(unix.NFTA_LIST_ELEM)
	w.text(unix.NFTA_EXPR_NAME, name)
	at[1] = w.nest(unix.NFTA_EXPR_DATA)
	return at
}

func (w *nftWire) endExpr(at [2]int) {
	w.shut(at[1])
	w.shut(at[0])
}

// meta loads what is known beside the packet.
func (w *nftWire) meta(key, register uint32) {
	at := w.expr("meta")
	w.u32(unix.NFTA_META_DREG, register)
	w.u32(unix.NFTA_META_KEY, key)
	w.endExpr(at)
}

// payload loads a part of the packet.
func (w *nftWire) payload(register, base, offset, size uint32) {
	at := w.expr("payload")
	w.u32(unix.NFTA_PAYLOAD_DREG, register)
	w.u32(unix.NFTA_PAYLOAD_BASE, base)
	w.u32(unix.NFTA_PAYLOAD_OFFSET, offset)
	w.u32(unix.NFTA_PAYLOAD_LEN, size)
	w.endExpr(at)
}

// ct loads what conntrack knows of the connection, of its original direction where
// there are two.
func (w *nftWire) ct(key, register uint32) {
	at := w.expr("ct")
	w.u32(unix.NFTA_CT_DREG, register)
	w.u32(unix.NFTA_CT_KEY, key)
	if key != unix.NFT_CT_STATUS {
		w.bytes(unix.NFTA_CT_DIRECTION, []byte{0})
	}
	w.endExpr(at)
}

func (w *nftWire) bitwise(register uint32, mask []byte) {
	at := w.expr("bitwise")
	w.u32(unix.NFTA_BITWISE_SREG, register)
	w.u32(unix.NFTA_BITWISE_DREG, register)
	w.u32(unix.NFTA_BITWISE_LEN, uint32(len(mask)))
	w.value(unix.NFTA_BITWISE_MASK, mask)
	w.value(unix.NFTA_BITWISE_XOR, make([]byte, len(mask)))
	w.endExpr(at)
}

func (w *nftWire) cmp(op, register uint32, data []byte) {
	at := w.expr("cmp")
	w.u32(unix.NFTA_CMP_SREG, register)
	w.u32(unix.NFTA_CMP_OP, op)
	w.value(unix.NFTA_CMP_DATA, data)
	w.endExpr(at)
}

func (w *nftWire) between(register uint32, from, to []byte) {
	at := w.expr("range")
	w.u32(unix.NFTA_RANGE_SREG, register)
	w.u32(unix.NFTA_RANGE_OP, unix.NFT_RANGE_EQ)
	w.value(unix.NFTA_RANGE_FROM_DATA, from)
	w.value(unix.NFTA_RANGE_TO_DATA, to)
	w.endExpr(at)
}

func (w *nftWire) immediate(register uint32, data []byte) {
	at := w.expr("immediate")
	w.u32(unix.NFTA_IMMEDIATE_DREG, register)
	w.value(unix.NFTA_IMMEDIATE_DATA, data)
	w.endExpr(at)
}

func (w *nftWire) jump(chain string) {
	at := w.expr("immediate")
	w.u32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
	data := w.nest(unix.NFTA_IMMEDIATE_DATA)
	verdict := w.nest(unix.NFTA_DATA_VERDICT)
	w.u32(unix.NFTA_VERDICT_CODE, 1<<32+unix.NFT_JUMP) // a negative number
	w.text(unix.NFTA_VERDICT_CHAIN, chain)
	w.shut(verdict)
	w.shut(data)
	w.endExpr(at)
}

func (w *nftWire) counter() { w.endExpr(w.expr("counter")) }

// lookup looks a key up in a set, or in a map where there is a register for the value.
// The name anonymousMap is the map that was made last in this transaction.
func (w *nftWire) lookup(set string, key, value uint32) {
	at := w.expr("lookup")
	w.text(unix.NFTA_LOOKUP_SET, set)
	w.u32(unix.NFTA_LOOKUP_SREG, key)
	if value != 0 {
		w.u32(unix.NFTA_LOOKUP_DREG, value)
	}
	if set == anonymousMap {
		w.u32(unix.NFTA_LOOKUP_SET_ID, w.set)
	}
	w.endExpr(at)
}

// rewrite is the NAT itself: registers that are 0 are left out.
type rewrite struct {
	action            Action
	family            byte
	addr, first, last uint32
	random            bool
}

func (w *nftWire) rewrite(n rewrite) {
	flags := uint32(0)
	if n.first != 0 {
		flags |= unix.NF_NAT_RANGE_PROTO_SPECIFIED
	}
	if n.random {
		flags |= unix.NF_NAT_RANGE_PROTO_RANDOM_FULLY
	}
	optional := func(typ uint16, value uint32) {
		if value != 0 {
			w.u32(typ, value)
		}
	}
	switch n.action {
	case Masquerade:
		at := w.expr("masq")
		optional(unix.NFTA_MASQ_FLAGS, flags)
		optional(unix.NFTA_MASQ_REG_PROTO_MIN, n.first)
		optional(unix.NFTA_MASQ_REG_PROTO_MAX, n.last)
		w.endExpr(at)
	case Redirect:
		at := w.expr("redir")
		optional(unix.NFTA_REDIR_FLAGS, flags)
		optional(unix.NFTA_REDIR_REG_PROTO_MIN, n.first)
		optional(unix.NFTA_REDIR_REG_PROTO_MAX, n.last)
		w.endExpr(at)
	default:
		kind := uint32(unix.NFT_NAT_DNAT)
		if n.action == SNAT {
			kind = unix.NFT_NAT_SNAT
		}
		at := w.expr("nat")
		w.u32(unix.NFTA_NAT_TYPE, kind)
		w.u32(unix.NFTA_NAT_FAMILY, uint32(n.family))
		optional(unix.NFTA_NAT_REG_ADDR_MIN, n.addr)
		optional(unix.NFTA_NAT_REG_ADDR_MAX, n.addr)
		optional(unix.NFTA_NAT_REG_PROTO_MIN, n.first)
		optional(unix.NFTA_NAT_REG_PROTO_MAX, n.last)
		optional(unix.NFTA_NAT_FLAGS, flags)
		w.endExpr(at)
	}
}

// anonymousMap is the pattern by which the kernel names one, anonymousPrefix how the
// names that it gives begin.
const (
	anonymousMap    = "__map%d"
	anonymousPrefix = "__map"
)

// sameRule tells whether expressions that the kernel has do what ours do: it leaves
// zeros out or in, and adds what follows from the rest. It reads their counter, and
// the name of the anonymous map that they look up.
func sameRule(theirs, ours attrs) (same bool, count counts, anonymous string) {
	for {
		typ, mine := ours.next()
		other, its := theirs.next()
		if typ == 0 || other == 0 {
			return typ == other && len(theirs) == 0, count, anonymous
		}
		name := attrs(mine).text(unix.NFTA_EXPR_NAME)
		if attrs(its).text(unix.NFTA_EXPR_NAME) != name {
			return false, count, ""
		}
		want, have := attrs(mine).find(unix.NFTA_EXPR_DATA), attrs(its).find(unix.NFTA_EXPR_DATA)
		switch name {
		case "counter":
			count = readCounts(have)
			continue
		case "lookup":
			if set := attrs(have).text(unix.NFTA_LOOKUP_SET); attrs(want).text(unix.NFTA_LOOKUP_SET) == anonymousMap {
				anonymous = set
				if !strings.HasPrefix(set, anonymousPrefix) {
					return false, count, ""
				}
			}
		}
		if !sameData(have, want, name) || !zeroBeside(have, want, name) {
			return false, count, ""
		}
	}
}

// sameData tells whether they have all that we have.
func sameData(theirs, ours attrs, name string) bool {
	for {
		typ, want := ours.next()
		if typ == 0 {
			return true
		}
		have := theirs.find(typ &^ unix.NLA_F_NESTED)
		switch {
		case have == nil:
			if !allZero(want) && (name != "lookup" || typ != unix.NFTA_LOOKUP_SET_ID) {
				return false
			}
		case name == "lookup" && typ == unix.NFTA_LOOKUP_SET && string(bytes.TrimSuffix(want, []byte{0})) == anonymousMap:
		case name == "nat" && typ == unix.NFTA_NAT_FLAGS:
			if natFlags(have) != natFlags(want) {
				return false
			}
		case typ&unix.NLA_F_NESTED != 0:
			if !sameData(have, want, "") || !zeroBeside(have, want, "") {
				return false
			}
		case !bytes.Equal(have, want):
			return false
		}
	}
}

// zeroBeside tells whether what they have beside ours is zero.
func zeroBeside(theirs, ours attrs, name string) bool {
	for {
		typ, have := theirs.next()
		typ &^= unix.NLA_F_NESTED
		switch {
		case typ == 0:
			return len(theirs) == 0
		case ours.find(typ) != nil || allZero(have):
		case name == "nat" && typ == unix.NFTA_NAT_FLAGS && natFlags(have) == 0:
		default:
			return false
		}
	}
}

// natFlags leaves out what the kernel itself sets where there is an address
// (NF_NAT_RANGE_MAP_IPS) or a port (NF_NAT_RANGE_PROTO_SPECIFIED).
func natFlags(b []byte) byte {
	if len(b) != 4 || !allZero(b[:3]) {
		return 0xff
	}
	return b[3] &^ (unix.NF_NAT_RANGE_MAP_IPS | unix.NF_NAT_RANGE_PROTO_SPECIFIED)
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// counts is what a counter has.
type counts struct{ packets, bytes uint64 }

func readCounts(b attrs) counts {
	return counts{b.u64(unix.NFTA_COUNTER_PACKETS), b.u64(unix.NFTA_COUNTER_BYTES)}
}
