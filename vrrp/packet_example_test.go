package vrrp_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/lvskit/lvskit/vrrp"
)

// An advertisement from a capture.
func ExampleParsePacket() {
	msg, _ := hex.DecodeString("3133c8020064df05c0000264c0000265")
	src, dst := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("224.0.0.18")
	p, drop := vrrp.ParsePacket(msg, src, dst)
	fmt.Println(drop, p.Version, p.VRID, p.Priority, p.Interval, p.Checksum, p.Addresses)

	msg[2] = 255 // somebody claims to own the addresses
	_, drop = vrrp.ParsePacket(msg, src, dst)
	fmt.Println(drop)
	// Output:
	// none VRRPv3 51 200 1s pseudo-header [192.0.2.100 192.0.2.101]
	// checksum
}

// What a test needs to be another router.
func ExamplePacket_Append() {
	p := vrrp.Packet{Version: vrrp.V3, VRID: 51, Priority: 200, Interval: 1e9, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.100")}}
	fmt.Printf("%x\n", p.Append(nil, netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("224.0.0.18")))
	// Output: 3133c8010064a170c0000264
}
