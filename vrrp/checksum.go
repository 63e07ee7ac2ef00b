package vrrp

import (
	"encoding/binary"
	"net/netip"
)

// protocol numbers of IP.
const (
	protocolVRRP = 112
	protocolAH   = 51
)

// onesSum adds the 16-bit words of b to sum (RFC 1071). 64 bits take more words
// than a packet has, so that carries are folded once, at the end.
func onesSum(sum uint64, b []byte) uint64 {
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// fold makes 16 bits of a sum; 0xffff is that of a message with a right checksum.
func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// pseudoSum is the sum of the pseudo-header: that of RFC 8200, section 8.1, for
// IPv6, and the one of TCP and UDP for IPv4. They differ in layout only, which a
// sum does not see.
func pseudoSum(src, dst netip.Addr, length int) uint64 {
	return addrSum(src) + addrSum(dst) + uint64(length) + protocolVRRP
}

func addrSum(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return onesSum(0, b[:])
	}
	b := a.As16()
	return onesSum(0, b[:])
}
