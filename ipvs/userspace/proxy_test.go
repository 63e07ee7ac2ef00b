package userspace

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

func TestProxyHeader(t *testing.T) {
	const signature = "0d0a0d0a000d0a515549540a"
	for _, tt := range []struct {
		name            string
		client, virtual string
		stream          bool
		want            string
	}{
		{
			"TCP over IPv4", "192.0.2.7:56324", "198.51.100.1:443", true,
			"21" + "11" + "000c" + "c0000207" + "c6336401" + "dc04" + "01bb",
		},
		{
			"UDP over IPv4", "192.0.2.7:5353", "198.51.100.1:53", false,
			"21" + "12" + "000c" + "c0000207" + "c6336401" + "14e9" + "0035",
		},
		{
			"TCP over IPv6", "[2001:db8::7]:56324", "[2001:db8:1::1]:443", true,
			"21" + "21" + "0024" + "20010db8000000000000000000000007" + "20010db8000100000000000000000001" + "dc04" + "01bb",
		},
		{
			"UDP over IPv6", "[2001:db8::7]:5353", "[2001:db8:1::1]:53", false,
			"21" + "22" + "0024" + "20010db8000000000000000000000007" + "20010db8000100000000000000000001" + "14e9" + "0035",
		},
		{
			"IPv4 in the form of IPv6 is IPv4", "[::ffff:192.0.2.7]:56324", "[::ffff:198.51.100.1]:443", true,
			"21" + "11" + "000c" + "c0000207" + "c6336401" + "dc04" + "01bb",
		},
		{
			"one of each family is IPv6", "[2001:db8::7]:56324", "198.51.100.1:443", true,
			"21" + "21" + "0024" + "20010db8000000000000000000000007" + "00000000000000000000ffffc6336401" + "dc04" + "01bb",
		},
		{"a client that is not known", "", "198.51.100.1:443", true, "20" + "00" + "0000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, _ := netip.ParseAddrPort(tt.client)
			got := appendProxy([]byte("before"), client, netip.MustParseAddrPort(tt.virtual), tt.stream)
			if got, want := hex.EncodeToString(got), hex.EncodeToString([]byte("before"))+signature+tt.want; got != want {
				t.Errorf("the header is\n%s, want\n%s", got, want)
			}
		})
	}
}
