package vrrp

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A fixture is what another implementation sends: testdata/packets/NAME.hex has
// two advertisements and the resignation, IP header included, one a line.
// TestPeers in packet_linux_test.go captures them anew.
type fixture struct {
	name string
	peer string // keepalived, keepalived 2.4 or frr
	conf string // of the peer, inside its vrrp_instance or interface
	set  func(*Config)
	sum  Checksum
	live bool // TestPeers runs it everywhere
	// ownSum: the peer accepts only the form of checksum that it sends, which we do not.
	ownSum bool
}

// What is the same in all fixtures: VRID 51, priority 200, 1 s, and these.
const (
	fixtureSrc4, fixtureOur4 = "192.0.2.2", "192.0.2.1"
	fixtureSrc6, fixtureOur6 = "fe80::2", "fe80::1"
	fixturePeers4            = "unicast_src_ip 192.0.2.2\nunicast_peer {\n192.0.2.1\n}\n"
	fixturePeers6            = "unicast_src_ip fe80::2\nunicast_peer {\nfe80::1\n}\n"
	fixtureVIPs4             = "virtual_ipaddress {\n192.0.2.100/32\n192.0.2.101/32\n}\n"
	fixtureVIPs6             = "virtual_ipaddress {\nfe80::100/128\n2001:db8::100/128\n}\n"
	fixtureKey               = "auth_hmac {\nkey 7 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\nactive_key 7\n}\n"
)

func fixture4(c *Config) { c.Addresses = addrs("192.0.2.100", "192.0.2.101") }
func fixture6(c *Config) { c.Addresses = addrs("fe80::100", "2001:db8::100") }

// fixtureUnicast, fixtureAuth change a fixture's Config further.
func fixtureUnicast(next func(*Config)) func(*Config) {
	return func(c *Config) {
		next(c)
		c.Peers = addrs(fixtureSrc4)
		if c.ipv6() {
			c.Peers = addrs(fixtureSrc6)
		}
	}
}

func fixtureV2(a Auth) func(*Config) {
	return func(c *Config) {
		fixture4(c)
		c.Version, c.Auth = V2, a
	}
}

func fixtureHMAC(next func(*Config)) func(*Config) {
	return func(c *Config) {
		next(c)
		c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{7, secret(0)}}}}
	}
}

var (
	fixturePass = Auth{Kind: AuthPass, Password: "secret"}
	fixtureAH   = Auth{Kind: AuthAH, Password: "secret12"}
)

var fixtures = []fixture{
	{name: "keepalived-v2", peer: "keepalived", conf: "version 2\n" + fixtureVIPs4, set: fixtureV2(Auth{})},
	{name: "keepalived-v2-unicast", peer: "keepalived", conf: "version 2\n" + fixturePeers4 + fixtureVIPs4, set: fixtureUnicast(fixtureV2(Auth{}))},
	{name: "keepalived-v2-pass", peer: "keepalived", conf: "version 2\nauthentication {\nauth_type PASS\nauth_pass secret\n}\n" + fixtureVIPs4, set: fixtureV2(fixturePass)},
	{name: "keepalived-v2-ah", peer: "keepalived", conf: "version 2\nauthentication {\nauth_type AH\nauth_pass secret12\n}\n" + fixtureVIPs4, set: fixtureV2(fixtureAH), live: true},
	{name: "keepalived-v2-ah-unicast", peer: "keepalived", conf: "version 2\nauthentication {\nauth_type AH\nauth_pass secret12\n}\n" + fixturePeers4 + fixtureVIPs4, set: fixtureUnicast(fixtureV2(fixtureAH))},
	{name: "keepalived-v3", peer: "keepalived", conf: "version 3\n" + fixtureVIPs4, set: fixture4},
	{name: "keepalived-v3-unicast", peer: "keepalived", conf: "version 3\n" + fixturePeers4 + fixtureVIPs4, set: fixtureUnicast(fixture4), live: true},
	{name: "keepalived-v3-oldunicast", peer: "keepalived", conf: "version 3\nold_unicast_checksum\n" + fixturePeers4 + fixtureVIPs4, set: fixtureUnicast(fixture4), ownSum: true},
	{name: "keepalived-v3-ipv6", peer: "keepalived", conf: "version 3\n" + fixtureVIPs6, set: fixture6, live: true},
	{name: "keepalived-v3-ipv6-unicast", peer: "keepalived", conf: "version 3\n" + fixturePeers6 + fixtureVIPs6, set: fixtureUnicast(fixture6)},
	{name: "frr-v2", peer: "frr", conf: "2", set: fixtureV2(Auth{})},
	{name: "frr-v3", peer: "frr", conf: "3", set: fixture4, live: true},
	{name: "frr-v3-ipv6", peer: "frr", conf: "3", set: fixture6},
	{name: "keepalived24-v3-messageonly", peer: "keepalived 2.4", conf: "version 3\nv3_checksum_as_v2\n" + fixtureVIPs4, set: fixture4, sum: MessageOnly},
	{name: "keepalived24-v3-hmac", peer: "keepalived 2.4", conf: "version 3\n" + fixtureKey + fixtureVIPs4, set: fixtureHMAC(fixture4)},
	{name: "keepalived24-v3-hmac-unicast", peer: "keepalived 2.4", conf: "version 3\n" + fixtureKey + fixturePeers4 + fixtureVIPs4, set: fixtureUnicast(fixtureHMAC(fixture4))},
	{name: "keepalived24-v3-hmac-ipv6", peer: "keepalived 2.4", conf: "version 3\n" + fixtureKey + fixtureVIPs6, set: fixtureHMAC(fixture6), live: true},
	{name: "keepalived24-v3-hmac-ipv6-unicast", peer: "keepalived 2.4", conf: "version 3\n" + fixtureKey + fixturePeers6 + fixtureVIPs6, set: fixtureUnicast(fixtureHMAC(fixture6))},
	{name: "keepalived24-v2-ah", peer: "keepalived 2.4", conf: "version 2\nauthentication {\nauth_type AH\nauth_pass secret12\n}\n" + fixtureVIPs4, set: fixtureV2(fixtureAH)},
}

// path is the fixture's file.
func (f *fixture) path() string { return "testdata/packets/" + f.name + ".hex" }

// read reads the fixture's packets and when they were captured.
func (f *fixture) read(t testing.TB) (packets [][]byte, at time.Time) {
	t.Helper()
	text, err := os.ReadFile(f.path())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if s, ok := strings.CutPrefix(line, "# time "); ok {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			at = time.Unix(n, 0)
		}
		if line == "" || line[0] == '#' {
			continue
		}
		b, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, b)
	}
	return packets, at
}

// splitIP takes an IP packet apart as the kernel does for a socket.
func splitIP(b []byte) (h header, msg []byte) {
	if b[0]>>4 == 4 {
		n := int(b[0]&0xf) * 4
		h = header{hopLimit: int(b[8]), protocol: b[9], ip: b[:n]}
		h.src, _ = netip.AddrFromSlice(b[12:16])
		h.dst, _ = netip.AddrFromSlice(b[16:20])
		msg = b[n:]
	} else {
		h = header{hopLimit: int(b[7]), protocol: b[6]}
		h.src, _ = netip.AddrFromSlice(b[8:24])
		h.dst, _ = netip.AddrFromSlice(b[24:40])
		msg = b[40:]
	}
	h.multicast = h.dst.IsMulticast()
	return h, msg
}

// check decodes what was captured from the fixture's peer.
func (f *fixture) check(packets [][]byte, at time.Time, w *wire) error {
	var p Packet
	for i, b := range packets {
		h, msg := splitIP(b)
		if d := w.decode(&p, h, msg, at); d != DropNone {
			return fmt.Errorf("packet %d was dropped: %v\n%x", i, d, b)
		}
		priority := uint8(200)
		if i == 2 {
			priority = 0
		}
		want := w.packetOf()
		want.Priority, want.Checksum = priority, f.sum
		if !w.ours.same(p.Addresses) {
			return fmt.Errorf("packet %d has the addresses %v, want %v", i, p.Addresses, want.Addresses)
		}
		if want.Addresses = p.Addresses; !samePacket(p, want) {
			return fmt.Errorf("packet %d is %+v, want %+v", i, p, want)
		}
		if d := w.decode(&p, h, msg, at); w.cfg.Auth.Kind >= AuthAH && d != DropReplay {
			return fmt.Errorf("packet %d a second time: %v, want %v", i, d, DropReplay)
		}
	}
	return nil
}

func TestWhatOthersSendIsUnderstood(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			packets, at := f.read(t)
			if len(packets) != 3 {
				t.Fatalf("%d packets, want 3", len(packets))
			}
			if err := f.check(packets, at, testWire(t, f.set)); err != nil {
				t.Error(err)
			}
		})
	}
}
