package vip

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Of IPv6's neighbour discovery (RFC 4861).
const (
	etherIPv6 = 0x86dd
	etherARP  = 0x0806

	ipv6Head    = 40
	etherHead   = 14
	protoICMPv6 = 58
	hopLimit    = 255 // of all its packets; receivers drop others

	typeSolicit   = 135
	typeAdvertise = 136

	flagRouter   = 0x80
	flagOverride = 0x20

	optionSource = 1 // the sender's link-layer address
	optionTarget = 2 // the target's
)

var allNodes = netip.MustParseAddr("ff02::1")

// advertisement is the frame of an unsolicited neighbour advertisement: to all
// nodes, from the address itself, not solicited, overriding.
func advertisement(mac net.HardwareAddr, addr netip.Addr, router bool) []byte {
	flags := byte(flagOverride)
	if router {
		flags |= flagRouter
	}
	option := append([]byte{optionTarget, 1}, mac...)
	return discovery(mac, addr, allNodes, typeAdvertise, flags, addr, option)
}

// discovery is the frame of a packet of neighbour discovery to a multicast
// address.
func discovery(mac net.HardwareAddr, src, dst netip.Addr, kind, flags byte, target netip.Addr, option []byte) []byte {
	size := 24 + len(option)
	group := dst.As16()
	f := make([]byte, 0, etherHead+ipv6Head+size)
	f = append(f, 0x33, 0x33, group[12], group[13], group[14], group[15])
	f = append(f, mac...)
	f = binary.BigEndian.AppendUint16(f, etherIPv6)
	f = append(f, 0x60, 0, 0, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(size))
	f = append(f, protoICMPv6, hopLimit)
	f = append(f, src.AsSlice()...)
	f = append(f, dst.AsSlice()...)
	f = append(f, kind, 0, 0, 0, flags, 0, 0, 0)
	f = append(f, target.AsSlice()...)
	f = append(f, option...)
	binary.BigEndian.PutUint16(f[etherHead+ipv6Head+2:], checksum6(f[etherHead:]))
	return f
}

// checksum6 is the checksum of an ICMPv6 packet with its IPv6 header, over what
// follows the header and RFC 8200's pseudo-header. A packet that carries its
// checksum has 0.
func checksum6(packet []byte) uint16 {
	sum := uint32(len(packet)-ipv6Head) + protoICMPv6
	for b := packet[8:]; len(b) > 0; b = b[min(len(b), 2):] {
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
			break
		}
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
