package vrrp

import (
	"encoding/binary"
	"net/netip"
)

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	control   = 0xc0 // type of service: network control, class selector 6
)

// appendFrame appends the Ethernet frame of a multicast advertisement that comes
// from the virtual MAC (RFC 9568, section 7.3). It cannot be fragmented.
func appendFrame(b []byte, o *outgoing) []byte {
	b = append(b, groupMAC(o.dst)...)
	b = append(b, virtualMAC(o.port.six, o.vrid)...)
	if o.port.six {
		b = binary.BigEndian.AppendUint16(b, etherIPv6)
		b = append(b, 0x60|control>>4, control&0xf<<4, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(o.payload)))
		b = append(b, o.port.protocol, 255)
	} else {
		b = binary.BigEndian.AppendUint16(b, etherIPv4)
		head := len(b)
		b = append(b, 0x45, control)
		b = binary.BigEndian.AppendUint16(b, uint16(20+len(o.payload)))
		b = append(b, 0, 0, 0x40, 0, 255, o.port.protocol, 0, 0) // do not fragment; no identification
		sum := onesSum(0, b[head:]) + addrSum(o.src) + addrSum(o.dst)
		binary.BigEndian.PutUint16(b[head+10:], ^fold(sum))
	}
	b = append(b, o.src.AsSlice()...)
	b = append(b, o.dst.AsSlice()...)
	return append(b, o.payload...)
}

// virtualMAC is the MAC of a virtual router.
func virtualMAC(six bool, vrid uint8) []byte {
	family := byte(1)
	if six {
		family = 2
	}
	return []byte{0, 0, 0x5e, 0, family, vrid}
}

// groupMAC is the Ethernet address of a group (RFC 1112, section 6.4; RFC 2464,
// section 7).
func groupMAC(group netip.Addr) []byte {
	if group.Is4() {
		a := group.As4()
		return []byte{1, 0, 0x5e, a[1] & 0x7f, a[2], a[3]}
	}
	a := group.As16()
	return []byte{0x33, 0x33, a[12], a[13], a[14], a[15]}
}
