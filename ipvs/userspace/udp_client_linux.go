package userspace

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sessionKey is what one UDP session of a service has that no other has. It has
// no gaps, so that a map hashes it in one go.
type sessionKey struct {
	addr  [16]byte // IPv4 in the first four bytes
	scope uint32   // of a link-local address: the interface
	port  uint16
	is6   uint16
	dest  *destination // of a OnePacket service, whose client has a session for each
}

// keyOf is who sent a datagram. It is false for what is no address of IPv4 or
// IPv6, which the kernel does not write.
func keyOf(name *unix.RawSockaddrInet6) (k sessionKey, ok bool) {
	switch name.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		copy(k.addr[:], sa.Addr[:])
		k.port = portOf(&sa.Port)
	case unix.AF_INET6:
		k.addr, k.scope, k.is6 = name.Addr, name.Scope_id, 1
		k.port = portOf(&name.Port)
	default:
		return k, false
	}
	return k, true
}

func portOf(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }

// client is the address of the key. A zone is the interface's number: it alone
// is allocated.
func (k *sessionKey) client() netip.AddrPort {
	if k.is6 == 0 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(k.addr[:4])), k.port)
	}
	addr := netip.AddrFrom16(k.addr)
	if k.scope != 0 {
		addr = addr.WithZone(strconv.FormatUint(uint64(k.scope), 10))
	}
	return netip.AddrPortFrom(addr, k.port)
}
