package vrrp

import (
	"errors"
	"io/fs"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func addrs(s ...string) []netip.Addr {
	var list []netip.Addr
	for _, a := range s {
		list = append(list, netip.MustParseAddr(a))
	}
	return list
}

func secret(fill byte) []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = fill + byte(i)
	}
	return b
}

// plainConfig is the least Config, IPv4.
func plainConfig() Config {
	return Config{Interface: "eth0", VRID: 51, Addresses: addrs("192.0.2.100")}
}

func TestConfigDefaults(t *testing.T) {
	c, err := plainConfig().normal()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Name: "eth0/51", Interface: "eth0", VRID: 51, Version: V3, Addresses: addrs("192.0.2.100"),
		Priority: 100, Interval: time.Second, DownCount: 3, Multicast: group4,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("have %+v\nwant %+v", c, want)
	}
	in := plainConfig()
	in.Addresses = addrs("fe80::100", "2001:db8::1")
	if c, err = in.normal(); err != nil || c.Name != "eth0/51/ipv6" || c.Multicast.String() != "ff02::12" {
		t.Errorf("IPv6: %q %v %v", c.Name, c.Multicast, err)
	}
	in.Interval = 30 * time.Second
	in.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{7, secret(0)}, {8, secret(1)}}}}
	if c, err = in.normal(); err != nil || c.Auth.HMAC.Active != 7 || c.Auth.HMAC.Window != 90*time.Second {
		t.Errorf("HMAC: %+v %v", c.Auth.HMAC, err)
	}
	in.Interval = 10 * time.Millisecond
	if c, err = in.normal(); err != nil || c.Auth.HMAC.Window != 5*time.Second {
		t.Errorf("HMAC: %+v %v", c.Auth.HMAC, err)
	}
}

func TestConfigKeepsNoSliceOfTheCaller(t *testing.T) {
	in := plainConfig()
	in.Addresses = addrs("::ffff:192.0.2.100", "192.0.2.101")
	in.Peers = addrs("::ffff:192.0.2.2")
	in.SecondPath = SecondPath{Interface: "eth1", Peers: addrs("::ffff:198.51.100.2")}
	in.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{1, secret(0)}}}}
	c, err := in.normal()
	if err != nil {
		t.Fatal(err)
	}
	if in.Addresses[0] != netip.MustParseAddr("::ffff:192.0.2.100") || in.Peers[0].Is4() || in.SecondPath.Peers[0].Is4() {
		t.Errorf("the caller's slices were written to: %+v", in)
	}
	again, err := c.normal()
	if err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("normal of a normal Config: %v\nhave %+v\nwant %+v", err, again, c)
	}
	in.Addresses[1], in.Peers[0], in.SecondPath.Peers[0] = netip.Addr{}, netip.Addr{}, netip.Addr{}
	in.Auth.HMAC.Keys[0].Secret[0] = 0xff
	in.Auth.HMAC.Keys[0].ID = 9
	if !reflect.DeepEqual(again, c) || c.Addresses[1] != netip.MustParseAddr("192.0.2.101") || c.Auth.HMAC.Keys[0].ID != 1 {
		t.Errorf("what the caller writes later shows: %+v", c)
	}
}

func TestConfigAccepts(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"the shortest interval":             func(c *Config) { c.Interval = 10 * time.Millisecond },
		"the longest interval":              func(c *Config) { c.Interval = 40950 * time.Millisecond },
		"VRRPv2 of 255 s":                   func(c *Config) { c.Version, c.Interval = V2, 255*time.Second },
		"the owner's source is its address": func(c *Config) { c.Priority, c.Source = 255, c.Addresses[0] },
		"a link-local peer with the zone":   func(c *Config) { c.Addresses, c.Peers = addrs("fe80::1"), addrs("fe80::2%eth0") },
		"an IPv4 address in IPv6 form":      func(c *Config) { c.Addresses = addrs("::ffff:192.0.2.100") },
		"a group of one's own":              func(c *Config) { c.Multicast = netip.MustParseAddr("239.1.2.3") },
		"the longest debounce":              func(c *Config) { c.LinkDebounce = 2*time.Second - 1 },
		"no debounce with a DownCount of 1": func(c *Config) { c.DownCount = 1 },
		"the longest password":              func(c *Config) { c.Version, c.Auth = V2, Auth{Kind: AuthPass, Password: "12345678"} },
		"AH":                                func(c *Config) { c.Version, c.Auth = V2, Auth{Kind: AuthAH, Password: "1"} },
		"HMAC without a common clock": func(c *Config) {
			c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{1, secret(0)}}, NoWindow: true}}
		},
		"the owner preempts, also NoPreempt": func(c *Config) { c.Priority, c.NoPreempt = 255, true },
	} {
		c := plainConfig()
		set(&c)
		if _, err := c.normal(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	second := SecondPath{Interface: "eth1", Peers: addrs("198.51.100.2")}
	key := Key{1, secret(0)}
	for _, tt := range []struct {
		name string
		set  func(*Config)
		want string // in the text: field, what it is, what is wanted
	}{
		{"no interface", func(c *Config) { c.Interface = "" }, "Interface is empty: want the name"},
		{"a long interface", func(c *Config) { c.Interface = "abcdefghijklmnop" }, `Interface is "abcdefghijklmnop": a name has at most 15`},
		{"an interface with a slash", func(c *Config) { c.Interface = "a/b" }, `Interface is "a/b"`},
		{"VRID 0", func(c *Config) { c.VRID = 0 }, "VRID is 0: want 1 to 255"},
		{"version 1", func(c *Config) { c.Version = 1 }, "Version is 1: want 2 or 3"},
		{"no address", func(c *Config) { c.Addresses = nil }, "Addresses has 0: want 1 to 255"},
		{"256 addresses", func(c *Config) {
			for i := range 255 {
				c.Addresses = append(c.Addresses, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
			}
		}, "Addresses has 256: want 1 to 255"},
		{"the zero address", func(c *Config) { c.Addresses[0] = netip.Addr{} }, "Addresses has the zero netip.Addr"},
		{"a zone", func(c *Config) { c.Addresses = addrs("fe80::1%eth0") }, "Addresses has fe80::1%eth0: want no zone"},
		{"mixed families", func(c *Config) { c.Addresses = addrs("192.0.2.1", "fe80::1") }, "Addresses has fe80::1: want IPv4 only"},
		{"mixed families the other way", func(c *Config) { c.Addresses = addrs("fe80::1", "192.0.2.1") }, "Addresses has 192.0.2.1: want IPv6 only"},
		{"an address twice", func(c *Config) { c.Addresses = addrs("192.0.2.1", "::ffff:192.0.2.1") }, "Addresses has 192.0.2.1 twice"},
		{"a group as address", func(c *Config) { c.Addresses = addrs("224.0.0.18") }, "Addresses has 224.0.0.18: want the unicast"},
		{"0.0.0.0 as address", func(c *Config) { c.Addresses = addrs("0.0.0.0") }, "Addresses has 0.0.0.0: want the unicast"},
		{"VRRPv2 with IPv6", func(c *Config) { c.Version, c.Addresses = V2, addrs("fe80::1") }, "IPv6 wants Version 3"},
		{"VRRPv2 of less than a second", func(c *Config) { c.Version, c.Interval = V2, 400*time.Millisecond }, "Interval is 400ms: VRRPv2 wants whole seconds"},
		{"VRRPv2 of 1.5 s", func(c *Config) { c.Version, c.Interval = V2, 1500*time.Millisecond }, "Interval is 1.5s: VRRPv2 wants whole seconds"},
		{"VRRPv2 of 256 s", func(c *Config) { c.Version, c.Interval = V2, 256*time.Second }, "Interval is 4m16s: VRRPv2"},
		{"VRRPv3 of 9 ms", func(c *Config) { c.Interval = 9 * time.Millisecond }, "Interval is 9ms: want 10ms to 40.95s"},
		{"VRRPv3 of 40.96 s", func(c *Config) { c.Interval = 40960 * time.Millisecond }, "Interval is 40.96s: want 10ms to 40.95s"},
		{"VRRPv3 of 15 ms", func(c *Config) { c.Interval = 15 * time.Millisecond }, "Interval is 15ms: want a multiple of 10ms"},
		{"a negative interval", func(c *Config) { c.Interval = -time.Second }, "Interval is -1s: want"},
		{"DownCount -1", func(c *Config) { c.DownCount = -1 }, "DownCount is -1: want 1 to 100"},
		{"DownCount 101", func(c *Config) { c.DownCount = 101 }, "DownCount is 101: want 1 to 100"},
		{"a long PreemptDelay", func(c *Config) { c.PreemptDelay = 1001 * time.Second }, "PreemptDelay is 16m41s: want 0 to 16m40s"},
		{"a negative PreemptDelay", func(c *Config) { c.PreemptDelay = -1 }, "PreemptDelay is -1ns"},
		{"PreemptDelay with NoPreempt", func(c *Config) { c.PreemptDelay, c.NoPreempt = time.Second, true }, "PreemptDelay is 1s and NoPreempt is set"},
		{"a negative StartupDelay", func(c *Config) { c.StartupDelay = -1 }, "StartupDelay is -1ns: want 0 or more"},
		{"a negative TakeoverDelay", func(c *Config) { c.TakeoverDelay = -1 }, "TakeoverDelay is -1ns: want 0 or more"},
		{"a long LinkDebounce", func(c *Config) { c.LinkDebounce = 2 * time.Second }, "LinkDebounce is 2s: want less than 2s"},
		{"a LinkDebounce with DownCount 1", func(c *Config) { c.DownCount, c.LinkDebounce = 1, 1 }, "LinkDebounce is 1ns: want less than 0s"},
		{"a negative LinkDebounce", func(c *Config) { c.LinkDebounce = -1 }, "LinkDebounce is -1ns"},
		{"a group that is none", func(c *Config) { c.Multicast = netip.MustParseAddr("192.0.2.9") }, "Multicast is 192.0.2.9: want a multicast"},
		{"a group of the other family", func(c *Config) { c.Multicast = group6 }, "Multicast is ff02::12: want"},
		{"a peer of the other family", func(c *Config) { c.Peers = addrs("fe80::2") }, "Peers has fe80::2: want IPv4 only"},
		{"a group as peer", func(c *Config) { c.Peers = addrs("224.0.0.18") }, "Peers has 224.0.0.18: want the unicast"},
		{"a virtual address as peer", func(c *Config) { c.Peers = addrs("192.0.2.100") }, "Peers has 192.0.2.100, a virtual address"},
		{"a peer twice", func(c *Config) { c.Peers = addrs("192.0.2.2", "192.0.2.2") }, "Peers has 192.0.2.2 twice"},
		{"itself as peer", func(c *Config) { c.Source, c.Peers = addrs("192.0.2.2")[0], addrs("192.0.2.2") }, "Peers has 192.0.2.2, which is the source"},
		{"a peer in another zone", func(c *Config) { c.Addresses, c.Peers = addrs("fe80::1"), addrs("fe80::2%eth1") }, "Peers has fe80::2%eth1: want no zone, or eth0"},
		{"256 peers", func(c *Config) { c.Peers = make([]netip.Addr, 256) }, "Peers has 256: want at most 255"},
		{"a virtual address as source", func(c *Config) { c.Source = c.Addresses[0] }, "Source is 192.0.2.100, a virtual address"},
		{"a source of the other family", func(c *Config) { c.Source = netip.MustParseAddr("fe80::2") }, "Source has fe80::2: want IPv4 only"},
		{"MinHopLimit 256", func(c *Config) { c.MinHopLimit = 256 }, "MinHopLimit is 256: want 0 to 255"},
		{"MinHopLimit -1", func(c *Config) { c.MinHopLimit = -1 }, "MinHopLimit is -1"},
		{"VirtualMAC with peers", func(c *Config) { c.VirtualMAC, c.Peers = true, addrs("192.0.2.2") }, "VirtualMAC is set and Peers too"},
		{"Checksum 2", func(c *Config) { c.Checksum = 2 }, "Checksum is 2"},
		{"a second path without peers", func(c *Config) { c.SecondPath = SecondPath{Interface: "eth1"} }, "SecondPath.Peers is empty"},
		{"a second path without interface", func(c *Config) { c.SecondPath = SecondPath{Peers: second.Peers} }, "SecondPath.Interface is empty"},
		{"a second path with a source only", func(c *Config) { c.SecondPath.Source = second.Peers[0] }, "SecondPath.Interface is empty"},
		{"a second path on the first", func(c *Config) { c.SecondPath = second; c.SecondPath.Interface = "eth0" }, "SecondPath.Interface is eth0, as Interface"},
		{"a second path of the other family", func(c *Config) { c.SecondPath = SecondPath{Interface: "eth1", Peers: addrs("fe80::2")} }, "SecondPath.Peers has fe80::2"},
		{"AuthKind 4", func(c *Config) { c.Auth.Kind = 4 }, "Auth.Kind is 4"},
		{"PASS with VRRPv3", func(c *Config) { c.Auth = Auth{Kind: AuthPass, Password: "x"} }, "Auth.Kind is pass: VRRPv3 has no"},
		{"AH with VRRPv3", func(c *Config) { c.Auth = Auth{Kind: AuthAH, Password: "x"} }, "Auth.Kind is ah: VRRPv3 has no"},
		{"HMAC with VRRPv2", func(c *Config) { c.Version, c.Auth = V2, Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{key}}} }, "Auth.Kind is hmac: want Version 3"},
		{"PASS without password", func(c *Config) { c.Version, c.Auth = V2, Auth{Kind: AuthPass} }, "Auth.Password has 0 bytes: want 1 to 8"},
		{"AH with 9 bytes", func(c *Config) { c.Version, c.Auth = V2, Auth{Kind: AuthAH, Password: "123456789"} }, "Auth.Password has 9 bytes: want 1 to 8"},
		{"a password for nothing", func(c *Config) { c.Auth.Password = "x" }, "Auth.Password is set, but Auth.Kind is none"},
		{"keys for nothing", func(c *Config) { c.Auth.HMAC.Keys = []Key{key} }, "Auth.HMAC.Keys is set, but Auth.Kind is none"},
		{"HMAC without keys", func(c *Config) { c.Auth.Kind = AuthHMAC }, "Auth.HMAC.Keys is empty"},
		{"a key without ID", func(c *Config) { c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{0, secret(0)}}}} }, "ID 0: want 1 to 255"},
		{"an ID twice", func(c *Config) { c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{key, key}}} }, "two keys with ID 1"},
		{"a short key", func(c *Config) { c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{1, secret(0)[1:]}}}} }, "key 1 has 31 bytes: want 32 to 64"},
		{"a long key", func(c *Config) { c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{1, make([]byte, 65)}}}} }, "key 1 has 65 bytes: want 32 to 64"},
		{"an active key that is none", func(c *Config) { c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{key}, Active: 2}} }, "Auth.HMAC.Active is 2"},
		{"a fourth mode", func(c *Config) { c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{key}, Mode: 3}} }, "Auth.HMAC.Mode is 3"},
		{"a window of half a second", func(c *Config) {
			c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{key}, Window: time.Second / 2}}
		}, "Auth.HMAC.Window is 500ms: want whole seconds, 1s to 5m0s"},
		{"a window of 301 s", func(c *Config) {
			c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{key}, Window: 301 * time.Second}}
		}, "Auth.HMAC.Window is 5m1s: want"},
		{"a window and none", func(c *Config) {
			c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{key}, Window: time.Second, NoWindow: true}}
		}, "Auth.HMAC.Window is 1s and NoWindow is set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := plainConfig()
			tt.set(&c)
			_, err := c.normal()
			if !errors.Is(err, fs.ErrInvalid) {
				t.Fatalf("have %v, want fs.ErrInvalid", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("have %v\nwant ...%s...", err, tt.want)
			}
		})
	}
}
