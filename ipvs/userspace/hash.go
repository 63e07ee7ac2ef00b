package userspace

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// fold makes 32 bits of an address. What is no IPv4 address is folded in a
// service of IPv6, and cut in one of IPv4 (ip_vs_sh.c and others, hashkey: an
// IPv4 address lies in the first four bytes of the kernel's union).
func fold(addr netip.Addr, v6 bool) uint32 {
	if addr.Is4() {
		b := addr.As4()
		return binary.BigEndian.Uint32(b[:])
	}
	b := addr.As16()
	first := binary.BigEndian.Uint32(b[0:])
	if !v6 {
		return first
	}
	return first ^ binary.BigEndian.Uint32(b[4:]) ^ binary.BigEndian.Uint32(b[8:]) ^ binary.BigEndian.Uint32(b[12:])
}

// hash32 is the kernel's multiplicative hash to a number of bits
// (include/linux/hash.h, hash_32).
func hash32(v uint32, n int) uint32 { return v * 0x61C88647 >> (32 - n) }

// hsiphash is the kernel's hsiphash of one 32-bit number: SipHash-1-3 on 64-bit
// machines, of which the lower half is taken (lib/siphash.c, hsiphash_1u32).
func hsiphash(v uint32, k0, k1 uint64) uint32 {
	v0, v1, v2, v3 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d, k0^0x6c7967656e657261, k1^0x7465646279746573
	block := 4<<56 | uint64(v) // the length, and the data that fills no 8 bytes
	v3 ^= block
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= block
	v2 ^= 0xff
	for range 3 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return uint32(v0 ^ v1 ^ v2 ^ v3)
}

// sipRound is the round of SipHash (Aumasson, Bernstein: SipHash, 2012, figure 2.1).
func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0, v2 = v0+v1, v2+v3
	v1, v3 = bits.RotateLeft64(v1, 13)^v0, bits.RotateLeft64(v3, 16)^v2
	v0 = bits.RotateLeft64(v0, 32)
	v0, v2 = v0+v3, v2+v1
	v1, v3 = bits.RotateLeft64(v1, 17)^v2, bits.RotateLeft64(v3, 21)^v0
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
