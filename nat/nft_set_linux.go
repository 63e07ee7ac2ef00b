package nat

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A published port is an element of one map for each family, with a counter:
//
//	address . protocol . port : address . port
//
// Its comment has what the element does not tell of its rule: the name, the range
// that it is a part of, the hairpin.
//
// What is masqueraded as hairpin is an element of a set for each family and length of
// network, network . address: connections from there to there that were sent on by
// DNAT.

func publishedMap(v6 bool) string {
	if v6 {
		return "published6"
	}
	return "published4"
}

// setType is what a field of a key or a value is, as nft shows it
// (nftables, include/datatype.h), and its size.
type setType struct{ number, size uint32 }

var (
	typeIPv4    = setType{7, 4}
	typeIPv6    = setType{8, 16}
	typeProto   = setType{12, 1}
	typeService = setType{13, 2}
)

func addrType(v6 bool) setType {
	if v6 {
		return typeIPv6
	}
	return typeIPv4
}

// setForm is what a set is like.
type setForm struct {
	key, value []setType
	counter    bool
	anonymous  bool
}

func publishedForm(v6 bool) setForm {
	a := addrType(v6)
	return setForm{key: []setType{a, typeProto, typeService}, value: []setType{a, typeService}, counter: true}
}

func hairpinForm(v6 bool) setForm {
	return setForm{key: []setType{addrType(v6), addrType(v6)}}
}

var shiftForm = setForm{key: []setType{typeService}, value: []setType{typeService}, anonymous: true}

// concat is the type of several fields and their size in registers.
func concat(fields []setType) (number, size uint32) {
	for _, f := range fields {
		number = number<<6 | f.number
		size += (f.size + 3) &^ 3
	}
	if len(fields) == 1 {
		size = fields[0].size
	}
	return number, size
}

const (
	nftSetConcat     = 0x80 // NFT_SET_CONCAT
	nftaSetDescParts = 2    // NFTA_SET_DESC_CONCAT
	nftaSetExpr      = 17   // NFTA_SET_EXPR
)

func (f setForm) flags() uint32 {
	flags := uint32(0)
	if f.anonymous {
		flags |= unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT
	}
	if f.value != nil {
		flags |= unix.NFT_SET_MAP
	}
	if len(f.key) > 1 {
		flags |= nftSetConcat
	}
	return flags
}

// newSet makes a set. Each has a number of its own in the transaction.
func (w *nftWire) newSet(name string, f setForm) {
	w.set++
	at := w.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	w.text(unix.NFTA_SET_TABLE, w.table)
	w.text(unix.NFTA_SET_NAME, name)
	w.u32(unix.NFTA_SET_FLAGS, f.flags())
	number, size := concat(f.key)
	w.u32(unix.NFTA_SET_KEY_TYPE, number)
	w.u32(unix.NFTA_SET_KEY_LEN, size)
	w.u32(unix.NFTA_SET_ID, w.set)
	if f.value != nil {
		number, size = concat(f.value)
		w.u32(unix.NFTA_SET_DATA_TYPE, number)
		w.u32(unix.NFTA_SET_DATA_LEN, size)
	}
	if len(f.key) > 1 {
		desc := w.nest(unix.NFTA_SET_DESC)
		parts := w.nest(nftaSetDescParts)
		for _, t := range f.key {
			part := w.nest(unix.NFTA_LIST_ELEM)
			w.u32(1, t.size) // NFTA_SET_FIELD_LEN
			w.shut(part)
		}
		w.shut(parts)
		w.shut(desc)
	}
	if f.counter {
		expr := w.nest(nftaSetExpr)
		w.text(unix.NFTA_EXPR_NAME, "counter")
		w.shut(w.nest(unix.NFTA_EXPR_DATA))
		w.shut(expr)
	}
	w.end(at)
}

// delSet deletes a set that no rule of the next generation uses.
func (w *nftWire) delSet(name string) {
	at := w.message(unix.NFT_MSG_DELSET, 0)
	w.text(unix.NFTA_SET_TABLE, w.table)
	w.text(unix.NFTA_SET_NAME, name)
	w.end(at)
}

// sameSet tells whether a set of the kernel is of that form.
func sameSet(b attrs, f setForm) bool {
	number, size := concat(f.key)
	ok := b.u32(unix.NFTA_SET_FLAGS) == f.flags() && b.u32(unix.NFTA_SET_KEY_TYPE) == number && b.u32(unix.NFTA_SET_KEY_LEN) == size
	if f.value != nil {
		number, size = concat(f.value)
		ok = ok && b.u32(unix.NFTA_SET_DATA_TYPE) == number && b.u32(unix.NFTA_SET_DATA_LEN) == size
	}
	if attrs(b.find(unix.NFTA_SET_DESC)).find(unix.NFTA_SET_DESC_SIZE) != nil && !f.anonymous {
		return false // it can be full
	}
	return ok && f.counter == (attrs(b.find(nftaSetExpr)).text(unix.NFTA_EXPR_NAME) == "counter")
}

// listSize is where a list of elements is ended and another message begun: the
// size of an attribute has 16 bits.
const listSize = 60000

// elements writes as many messages as elements need.
type elements struct {
	w          *nftWire
	command    uint16
	set        string
	anonymous  bool
	message    int // where it begins; 0: none is open
	list, elem int
}

// begin begins an element.
func (e *elements) begin() {
	w := e.w
	if e.message != 0 && len(w.b)-e.list > listSize {
		e.end()
	}
	if e.message == 0 {
		e.message = w.message(e.command, unix.NLM_F_CREATE)
		w.text(unix.NFTA_SET_ELEM_LIST_TABLE, w.table)
		w.text(unix.NFTA_SET_ELEM_LIST_SET, e.set)
		if e.anonymous {
			w.u32(unix.NFTA_SET_ELEM_LIST_SET_ID, w.set)
		}
		e.list = w.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	}
	e.elem = w.nest(unix.NFTA_LIST_ELEM)
}

// end ends the messages.
func (e *elements) end() {
	if e.message == 0 {
		return
	}
	e.w.shut(e.list)
	e.w.end(e.message)
	e.message = 0
}

// published writes the element of a published port, or its key.
func (e *elements) published(r *Rule, p published, to netip.AddrPort) {
	var buf [24]byte
	e.begin()
	e.w.value(unix.NFTA_SET_ELEM_KEY, appendEnd(buf[:0], netip.AddrPortFrom(p.addr, p.port), p.protocol))
	if e.command == unix.NFT_MSG_NEWSETELEM {
		e.w.value(unix.NFTA_SET_ELEM_DATA, appendEnd(buf[:0], to, 0))
		if r.Name != "" || r.Hairpin.IsValid() || r.DestinationPort.Len() > 1 {
			e.w.userData(unix.NFTA_SET_ELEM_USERDATA, r.comment(), nil)
		}
	}
	e.w.shut(e.elem)
}

// hairpin writes an element of a set of hairpins.
func (e *elements) hairpin(key string) {
	e.begin()
	e.w.value(unix.NFTA_SET_ELEM_KEY, []byte(key))
	e.w.shut(e.elem)
}

// shiftMap makes the anonymous map of a rule that shifts ports.
func (w *nftWire) shiftMap(r *Rule) {
	w.newSet(anonymousMap, shiftForm)
	e := elements{w: w, command: unix.NFT_MSG_NEWSETELEM, set: anonymousMap, anonymous: true}
	for i := range uint16(r.ToPort.Len()) {
		e.begin()
		w.value(unix.NFTA_SET_ELEM_KEY, port(r.DestinationPort.First+i))
		w.value(unix.NFTA_SET_ELEM_DATA, port(r.ToPort.First+i))
		w.shut(e.elem)
	}
	e.end()
}

// appendEnd appends an address, a protocol unless it is zero, and a port, each in
// as many words as it needs.
func appendEnd(b []byte, a netip.AddrPort, p Protocol) []byte {
	if a.Addr().Is4() {
		addr := a.Addr().As4()
		b = append(b, addr[:]...)
	} else {
		addr := a.Addr().As16()
		b = append(b, addr[:]...)
	}
	if p != 0 {
		b = append(b, byte(p), 0, 0, 0)
	}
	return append(binary.BigEndian.AppendUint16(b, a.Port()), 0, 0)
}

// comment is what the elements do not tell of an exact rule.
func (r *Rule) comment() string {
	if r.DestinationPort.Len() <= 1 && !r.Hairpin.IsValid() {
		return "name " + r.Name // what most have
	}
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
	for comment != "" && err == nil {
		var word, value string
		word, comment, _ = strings.Cut(comment, " ")
		value, comment, _ = strings.Cut(comment, " ")
		switch word {
		case "name":
			r.Name = value
		case "hairpin":
			r.Hairpin, err = netip.ParsePrefix(value)
		case "shift":
			if r.DestinationPort, err = parsePorts(value); err == nil {
				value, comment, _ = strings.Cut(comment, " ")
				r.ToPort, err = parsePorts(value)
			}
		default:
			err = invalidf("comment %q", word)
		}
	}
	shifted := int(dst.Port()) - int(r.DestinationPort.First)
	if err == nil && (shifted < 0 || dst.Port() > r.DestinationPort.Last || int(to.Port()) != int(r.ToPort.First)+shifted) {
		err = invalidf("port %s is not %s of a range", dst, to)
	}
	r.normalize()
	return r, err
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
	if protocol && ok {
		p, ok = Protocol(b[n]), allZero(b[n+1:n+4])
		n += 4
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[n:])), p, ok && allZero(b[n+2:])
}

// encode is what the rule of a set of hairpins has as user data.
func (l hairpinLength) encode() []byte {
	if l.v6 {
		return []byte{6, byte(l.bits)}
	}
	return []byte{4, byte(l.bits)}
}

func decodeLength(b []byte) (l hairpinLength, ok bool) {
	if len(b) != 2 || b[0] != 4 && b[0] != 6 || b[1] > 128 || b[0] == 4 && b[1] > 32 {
		return l, false
	}
	return hairpinLength{b[0] == 6, int(b[1])}, true
}

func (l hairpinLength) set() string {
	if l.v6 {
		return "hairpin6_" + strconv.Itoa(l.bits)
	}
	return "hairpin4_" + strconv.Itoa(l.bits)
}

// hairpinKey is the element that a rule with a hairpin has in such a set.
func (r *Rule) hairpinKey() (l hairpinLength, key string) {
	return hairpinLength{r.Hairpin.Addr().Is6(), r.Hairpin.Bits()}, string(append(r.Hairpin.Addr().AsSlice(), r.To.AsSlice()...))
}
