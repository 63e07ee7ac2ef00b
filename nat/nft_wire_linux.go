package nat

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Transactions are encoded here, straight into one buffer, and not by a library: it
// is several times as fast with thousands of rules, and google/nftables 0.3.0 loses the
// flags of a masquerade with ports.

// nftWire is netlink messages of nf_tables that are being put together.
type nftWire struct {
	b     []byte
	table string
	seq   uint32 // of the last message
	begun int    // where that begins
	set   uint32 // the number of the last anonymous map
}

const nfgenSize = 4 // struct nfgenmsg

// message begins a message about our table: its attributes follow, then end.
func (w *nftWire) message(typ, flags uint16) int {
	return w.header(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags, unix.NFPROTO_INET, 0)
}

func (w *nftWire) header(typ, flags uint16, family byte, res uint16) int {
	w.seq++
	at := len(w.b)
	w.begun = at
	w.b = append(w.b, 0, 0, 0, 0)
	w.b = binary.NativeEndian.AppendUint16(w.b, typ)
	w.b = binary.NativeEndian.AppendUint16(w.b, flags|unix.NLM_F_REQUEST)
	w.b = binary.NativeEndian.AppendUint32(w.b, w.seq)
	w.b = append(w.b, 0, 0, 0, 0, family, unix.NFNETLINK_V0)
	w.b = binary.BigEndian.AppendUint16(w.b, res)
	return at
}

// end ends the message that begins there.
func (w *nftWire) end(at int) {
	binary.NativeEndian.PutUint32(w.b[at:], uint32(len(w.b)-at))
}

// flag adds a flag to the header of the message that begins there.
func (w *nftWire) flag(at int, flag uint16) {
	b := w.b[at+6:]
	binary.NativeEndian.PutUint16(b, binary.NativeEndian.Uint16(b)|flag)
}

// nest begins an attribute that others are in, shut ends it.
func (w *nftWire) nest(typ uint16) int { return w.open(typ | unix.NLA_F_NESTED) }

func (w *nftWire) open(typ uint16) int {
	at := len(w.b)
	w.b = binary.NativeEndian.AppendUint16(append(w.b, 0, 0), typ)
	return at
}

func (w *nftWire) shut(at int) {
	binary.NativeEndian.PutUint16(w.b[at:], uint16(len(w.b)-at))
	for len(w.b)%unix.NLA_ALIGNTO != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *nftWire) bytes(typ uint16, data []byte) {
	at := w.open(typ)
	w.b = append(w.b, data...)
	w.shut(at)
}

func (w *nftWire) text(typ uint16, s string) {
	at := w.open(typ)
	w.b = append(append(w.b, s...), 0)
	w.shut(at)
}

func (w *nftWire) u32(typ uint16, n uint32) {
	at := w.open(typ)
	w.b = binary.BigEndian.AppendUint32(w.b, n)
	w.shut(at)
}

// userData is what nft shows as a comment, and what we keep beside it.
func (w *nftWire) userData(typ uint16, comment string, ours []byte) {
	at := w.open(typ)
	if comment != "" {
		w.b = append(w.b, userComment, byte(len(comment)+1))
		w.b = append(append(w.b, comment...), 0)
	}
	if ours != nil {
		w.b = append(w.b, userOurs, byte(len(ours)))
		w.b = append(w.b, ours...)
	}
	w.shut(at)
}

// The types of user data: a comment is what libnftnl has for one
// (NFTNL_UDATA_RULE_COMMENT, NFTNL_UDATA_SET_ELEM_COMMENT).
const (
	userComment = 0
	userOurs    = 0xa7
)

// readUserData takes both apart again.
func readUserData(b []byte) (comment string, ours []byte) {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		data := b[2 : 2+int(b[1])]
		switch b[0] {
		case userComment:
			comment = string(bytes.TrimSuffix(data, []byte{0}))
		case userOurs:
			ours = data
		}
		b = b[2+len(data):]
	}
	return comment, ours
}

func (w *nftWire) u64(typ uint16, n uint64) {
	at := w.open(typ)
	w.b = binary.BigEndian.AppendUint64(w.b, n)
	w.shut(at)
}

// value is an attribute with data of a register.
func (w *nftWire) value(typ uint16, data []byte) {
	at := w.nest(typ)
	w.bytes(unix.NFTA_DATA_VALUE, data)
	w.shut(at)
}

// attrs are netlink attributes, one after the other.
type attrs []byte

// next takes the first one off. Its nested flag is in typ, which is 0 at the end
// and where the bytes are no attributes: those of nf_tables count from 1.
func (a *attrs) next() (typ uint16, data []byte) {
	b := *a
	if len(b) < unix.SizeofNlAttr {
		return 0, nil
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < unix.SizeofNlAttr || size > len(b) {
		*a = nil
		return 0, nil
	}
	*a = b[min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
	return binary.NativeEndian.Uint16(b[2:]) &^ unix.NLA_F_NET_BYTEORDER, b[unix.SizeofNlAttr:size]
}

// find is the attribute of a type, nil where there is none.
func (a attrs) find(typ uint16) []byte {
	for {
		switch t, data := a.next(); t &^ unix.NLA_F_NESTED {
		case 0:
			return nil
		case typ:
			return data
		}
	}
}

// text is an attribute without the zero byte at its end.
func (a attrs) text(typ uint16) string {
	return string(bytes.TrimSuffix(a.find(typ), []byte{0}))
}

// u32 is an attribute of 4 bytes, 0 where there is none.
func (a attrs) u32(typ uint16) uint32 {
	if b := a.find(typ); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// u64 is an attribute of 8 bytes, 0 where there is none.
func (a attrs) u64(typ uint16) uint64 {
	if b := a.find(typ); len(b) == 8 {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
