package ipvs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Commands of the generic netlink family "IPVS" (include/uapi/linux/ip_vs.h,
// IPVS_CMD_*).
type command uint8

const (
	cmdNewService command = iota + 1
	cmdSetService
	cmdDelService
	cmdGetService
	cmdNewDest
	cmdSetDest
	cmdDelDest
	cmdGetDest
	cmdNewDaemon
	cmdDelDaemon
	cmdGetDaemon
	cmdSetConfig
	cmdGetConfig
	cmdSetInfo
	cmdGetInfo
	cmdZero
	cmdFlush
)

// Attributes of a command's first level (IPVS_CMD_ATTR_*).
const (
	attrService uint16 = iota + 1
	attrDest
	attrDaemon
	attrTimeoutTCP
	attrTimeoutTCPFin
	attrTimeoutUDP
)

// Attributes of the answer to cmdGetInfo (IPVS_INFO_ATTR_*).
const (
	attrInfoVersion uint16 = iota + 1
	attrInfoConnTabSize
)

// The kernel's numbers of address families.
const (
	afINET  = 2
	afINET6 = 10
)

// Sizes and flags of netlink (include/uapi/linux/netlink.h, genetlink.h).
const (
	netlinkHeaderSize = 16
	genericHeaderSize = 4
	attrHeaderSize    = 4
	attrTypeMask      = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER

	messageNoop  = 1
	messageError = 2
	messageDone  = 3

	flagRequest = 0x001
	flagAck     = 0x004
	flagDump    = 0x300

	genericVersion = 1
)

// errTruncated is netlink that ends within a message or an attribute.
var errTruncated = errors.New("truncated netlink message")

// encoder appends netlink messages and attributes to a buffer that it keeps.
// All numbers are in the byte order of the machine but where a method says
// otherwise.
type encoder struct{ b []byte }

// begin opens a message; end closes it.
func (e *encoder) begin(family uint16, cmd command, flags uint16, seq uint32) (mark int) {
	mark = len(e.b)
	e.b = binary.NativeEndian.AppendUint32(e.b, 0)
	e.b = binary.NativeEndian.AppendUint16(e.b, family)
	e.b = binary.NativeEndian.AppendUint16(e.b, flags)
	e.b = binary.NativeEndian.AppendUint32(e.b, seq)
	e.b = append(e.b, 0, 0, 0, 0, byte(cmd), genericVersion, 0, 0)
	return mark
}

func (e *encoder) end(mark int) {
	binary.NativeEndian.PutUint32(e.b[mark:], uint32(len(e.b)-mark))
}

// addFlags sets flags of the message at mark.
func (e *encoder) addFlags(mark int, flags uint16) {
	p := e.b[mark+6:]
	binary.NativeEndian.PutUint16(p, binary.NativeEndian.Uint16(p)|flags)
}

// nest opens an attribute that holds attributes; endNest closes it.
func (e *encoder) nest(typ uint16) (mark int) {
	mark = len(e.b)
	e.header(typ, 0)
	return mark
}

func (e *encoder) endNest(mark int) {
	binary.NativeEndian.PutUint16(e.b[mark:], uint16(len(e.b)-mark))
}

func (e *encoder) header(typ uint16, size int) {
	e.b = binary.NativeEndian.AppendUint16(e.b, uint16(attrHeaderSize+size))
	e.b = binary.NativeEndian.AppendUint16(e.b, typ)
}

func (e *encoder) u8(typ uint16, v uint8) {
	e.header(typ, 1)
	e.b = append(e.b, v, 0, 0, 0)
}

func (e *encoder) u16(typ, v uint16) {
	e.header(typ, 2)
	e.b = binary.NativeEndian.AppendUint16(e.b, v)
	e.b = append(e.b, 0, 0)
}

// be16 is a number in network byte order.
func (e *encoder) be16(typ, v uint16) {
	e.header(typ, 2)
	e.b = append(e.b, byte(v>>8), byte(v), 0, 0)
}

func (e *encoder) u32(typ uint16, v uint32) {
	e.header(typ, 4)
	e.b = binary.NativeEndian.AppendUint32(e.b, v)
}

// be32 is a number in network byte order.
func (e *encoder) be32(typ uint16, v uint32) {
	e.header(typ, 4)
	e.b = binary.BigEndian.AppendUint32(e.b, v)
}

// str is a text that ends in a zero byte.
func (e *encoder) str(typ uint16, s string) {
	e.header(typ, len(s)+1)
	e.b = append(e.b, s...)
	for n := align(len(s)+1) - len(s); n > 0; n-- {
		e.b = append(e.b, 0)
	}
}

// addr is an address in network byte order, 4 or 16 bytes.
func (e *encoder) addr(typ uint16, a netip.Addr) {
	if a.Is4() {
		v := a.As4()
		e.header(typ, len(v))
		e.b = append(e.b, v[:]...)
		return
	}
	v := a.As16()
	e.header(typ, len(v))
	e.b = append(e.b, v[:]...)
}

func align(n int) int { return (n + 3) &^ 3 }

// message is one message of a netlink datagram. data points into the datagram.
type message struct {
	typ, flags uint16
	seq        uint32
	data       []byte // what follows the netlink header
}

// nextMessage cuts the first message off a datagram.
func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < netlinkHeaderSize {
		return m, nil, errTruncated
	}
	n := binary.NativeEndian.Uint32(b)
	if n < netlinkHeaderSize || uint64(n) > uint64(len(b)) {
		return m, nil, errTruncated
	}
	m = message{
		typ:   binary.NativeEndian.Uint16(b[4:]),
		flags: binary.NativeEndian.Uint16(b[6:]),
		seq:   binary.NativeEndian.Uint32(b[8:]),
		data:  b[netlinkHeaderSize:n],
	}
	return m, b[min(align(int(n)), len(b)):], nil
}

// errno is the error number, positive, of a messageError or messageDone. Zero
// is success. A messageDone without one is success.
func (m message) errno() (int, error) {
	if len(m.data) < 4 {
		if m.typ == messageDone && len(m.data) == 0 {
			return 0, nil
		}
		return 0, errTruncated
	}
	n := int32(binary.NativeEndian.Uint32(m.data))
	if n > 0 || n < -4095 {
		return 0, fmt.Errorf("netlink error number %d is out of range", n)
	}
	return int(-n), nil
}

// attributes are those of a generic netlink message.
func (m message) attributes() ([]byte, error) {
	if len(m.data) < genericHeaderSize {
		return nil, errTruncated
	}
	return m.data[genericHeaderSize:], nil
}

// attrs reads a list of attributes, one at each call of next. A list or a value
// that is cut off sets err, which is looked at when next says that it is over.
type attrs struct {
	rest []byte
	typ  uint16
	b    []byte // the value
	err  error
}

func (a *attrs) next() bool {
	if len(a.rest) == 0 || a.err != nil {
		return false
	}
	if len(a.rest) < attrHeaderSize {
		a.err = errTruncated
		return false
	}
	n := int(binary.NativeEndian.Uint16(a.rest))
	if n < attrHeaderSize || n > len(a.rest) {
		a.err = errTruncated
		return false
	}
	a.typ = binary.NativeEndian.Uint16(a.rest[2:]) & attrTypeMask
	a.b = a.rest[attrHeaderSize:n:n]
	a.rest = a.rest[min(align(n), len(a.rest)):]
	return true
}

func (a *attrs) has(n int) bool {
	if len(a.b) < n {
		a.err = errTruncated
		return false
	}
	return true
}

func (a *attrs) u8() uint8 {
	if !a.has(1) {
		return 0
	}
	return a.b[0]
}

func (a *attrs) u16() uint16 {
	if !a.has(2) {
		return 0
	}
	return binary.NativeEndian.Uint16(a.b)
}

func (a *attrs) be16() uint16 {
	if !a.has(2) {
		return 0
	}
	return binary.BigEndian.Uint16(a.b)
}

func (a *attrs) u32() uint32 {
	if !a.has(4) {
		return 0
	}
	return binary.NativeEndian.Uint32(a.b)
}

func (a *attrs) be32() uint32 {
	if !a.has(4) {
		return 0
	}
	return binary.BigEndian.Uint32(a.b)
}

func (a *attrs) u64() uint64 {
	if !a.has(8) {
		return 0
	}
	return binary.NativeEndian.Uint64(a.b)
}

// text is the bytes before the first zero.
func (a *attrs) text() []byte {
	if i := bytes.IndexByte(a.b, 0); i >= 0 {
		return a.b[:i]
	}
	return a.b
}

// name is a text of the length that the kernel gives to names.
func (a *attrs) name() string {
	b := a.text()
	if len(b) > maxName {
		a.err = errLongName
		return ""
	}
	return string(b)
}

// decodeAddr reads an address of a family, whose attribute may follow it.
func decodeAddr(b []byte, af uint16) (netip.Addr, error) {
	switch {
	case b == nil:
		return netip.Addr{}, errNoAttribute
	case af == afINET && len(b) >= 4:
		return netip.AddrFrom4([4]byte(b)), nil
	case af == afINET6 && len(b) >= 16:
		return netip.AddrFrom16([16]byte(b)), nil
	case af == afINET || af == afINET6:
		return netip.Addr{}, errTruncated
	}
	return netip.Addr{}, fmt.Errorf("unknown address family %d", af)
}
