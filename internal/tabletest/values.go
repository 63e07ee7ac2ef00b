package tabletest

import (
	"net/netip"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// Bounds of what a table takes.
const (
	maxWeight    = 1<<31 - 1
	maxThreshold = 1<<31 - 1
	maxTimeout   = 31 * 24 * time.Hour
	maxIdle      = 2147482 * time.Second
)

func tcp(s string) ipvs.ServiceID {
	return ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort(s)}
}

func udp(s string) ipvs.ServiceID {
	return ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort(s)}
}

func masq(s string, weight int) ipvs.Destination {
	return ipvs.Destination{Addr: netip.MustParseAddrPort(s), Forward: ipvs.ForwardMasq, Weight: weight}
}

func route(s string, weight int) ipvs.Destination {
	return ipvs.Destination{Addr: netip.MustParseAddrPort(s), Weight: weight}
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// web is a service with two destinations, as every table takes it.
func web() ipvs.Service {
	return ipvs.Service{
		ID: tcp("192.0.2.1:80"), Scheduler: ipvs.RR,
		Destinations: []ipvs.Destination{masq("10.0.0.1:8080", 1), masq("10.0.0.2:8080", 2)},
	}
}

// web6 is the same in IPv6.
func web6() ipvs.Service {
	return ipvs.Service{
		ID: tcp("[2001:db8::1]:80"), Scheduler: ipvs.WLC,
		Destinations: []ipvs.Destination{masq("[fd00::1]:8080", 1), masq("[fd00::2]:8080", 2)},
	}
}

// dns is a service of UDP.
func dns() ipvs.Service {
	return ipvs.Service{
		ID: udp("192.0.2.1:53"), Scheduler: ipvs.SH,
		Destinations: []ipvs.Destination{masq("10.0.0.1:53", 1)},
	}
}

// schedulers are those that every table has, besides none.
var schedulers = []ipvs.Scheduler{
	ipvs.RR, ipvs.WRR, ipvs.LC, ipvs.WLC, ipvs.FO, ipvs.OVF, ipvs.LBLC, ipvs.LBLCR,
	ipvs.DH, ipvs.SH, ipvs.MH, ipvs.SED, ipvs.NQ,
}

// badIDs are no names of services.
var badIDs = map[string]ipvs.ServiceID{
	"nothing":                      {},
	"protocol 0":                   {Addr: addr("192.0.2.1:80")},
	"protocol ICMP":                {Protocol: 1, Addr: addr("192.0.2.1:80")},
	"no address":                   {Protocol: ipvs.TCP},
	"the unspecified address":      tcp("0.0.0.0:80"),
	"the unspecified IPv6 address": tcp("[::]:80"),
	"a multicast address":          tcp("224.0.0.18:80"),
	"an IPv6 multicast address":    tcp("[ff02::12]:80"),
	"the broadcast address":        tcp("255.255.255.255:80"),
	"a zone":                       tcp("[fe80::1%eth0]:80"),
	"a mark and an address":        {Protocol: ipvs.TCP, Addr: addr("192.0.2.1:80"), FWMark: 1},
	"a mark and a protocol":        {Protocol: ipvs.TCP, FWMark: 1},
	"an address and a family":      {Protocol: ipvs.TCP, Addr: addr("[2001:db8::1]:80"), Family: ipvs.IPv6},
	"a mark and no family known":   {FWMark: 1, Family: 2},
	"unspecified in mapped form":   tcp("[::ffff:0.0.0.0]:80"),
	"a multicast in mapped form":   tcp("[::ffff:224.0.0.1]:80"),
}

// tooHeavy is a weight above the largest; where an int has 32 bits, one below zero.
var tooHeavy = func() int { w := maxWeight; w++; return w }()

// badDestinations are refused by a TCP service of 192.0.2.1:80.
var badDestinations = map[string]ipvs.Destination{
	"no address":                       {Forward: ipvs.ForwardMasq},
	"the unspecified address":          masq("0.0.0.0:80", 1),
	"a multicast address":              masq("224.0.0.1:80", 1),
	"the broadcast address":            masq("255.255.255.255:80", 1),
	"an IPv6 address":                  masq("[fd00::1]:80", 1),
	"port 0":                           masq("10.0.0.1:0", 1),
	"a weight below 0":                 masq("10.0.0.1:80", -1),
	"a weight too large":               masq("10.0.0.1:80", tooHeavy),
	"a lower threshold without upper":  {Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardMasq, Lower: 1},
	"a lower threshold above upper":    {Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardMasq, Upper: 4, Lower: 5},
	"an upper threshold too large":     {Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardMasq, Upper: maxThreshold + 1},
	"a tunnel without tunnelling":      {Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardMasq, Tunnel: ipvs.Tunnel{Type: ipvs.GRE}},
	"ForwardBypass":                    {Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardBypass},
	"an unknown way of forwarding":     {Addr: addr("10.0.0.1:80"), Forward: 99},
	"direct routing to another port":   route("10.0.0.1:8080", 1),
	"direct routing to another family": route("[fd00::1]:80", 1),
	"tunnelling to another port":       {Addr: addr("10.0.0.1:8080"), Forward: ipvs.ForwardTunnel},
	"the director on another port":     {Addr: addr("127.0.0.1:8080"), Forward: ipvs.ForwardLocal},
	"a tunnel type that is none":       {Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.Tunnel{Type: 3}},
	"GUE without a port":               {Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.Tunnel{Type: ipvs.GUE}},
	"IPIP with a port":                 {Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.Tunnel{Port: 6080}},
	"IPIP with a checksum":             {Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.Tunnel{Flags: ipvs.TunnelCsum}},
	"both tunnel checksums": {
		Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardTunnel,
		Tunnel: ipvs.Tunnel{Type: ipvs.GUE, Port: 6080, Flags: ipvs.TunnelCsum | ipvs.TunnelRemCsum},
	},
}

// badServices are refused whatever their destinations.
var badServices = map[string]ipvs.Service{
	"OnePacket of TCP":                 {ID: tcp("192.0.2.9:80"), Flags: ipvs.OnePacket},
	"unknown flags":                    {ID: tcp("192.0.2.9:80"), Flags: 0x100},
	"the kernel's own flags":           {ID: tcp("192.0.2.9:80"), Flags: 0x03},
	"a scheduler that is no name":      {ID: tcp("192.0.2.9:80"), Scheduler: "r r"},
	"a scheduler with too long a name": {ID: tcp("192.0.2.9:80"), Scheduler: "abcdefghijklmnop"},
	"port 0 without persistence":       {ID: tcp("192.0.2.9:0")},
	"a mask without persistence":       {ID: tcp("192.0.2.9:80"), Persistence: ipvs.Persistence{Mask: 24}},
	"an engine without persistence":    {ID: udp("192.0.2.9:80"), Persistence: ipvs.Persistence{Engine: "sip"}},
	"persistence of half a second":     persistent("192.0.2.9:80", ipvs.Persistence{Timeout: time.Second / 2}),
	"persistence of 1.5 s":             persistent("192.0.2.9:80", ipvs.Persistence{Timeout: 1500 * time.Millisecond}),
	"persistence below 0":              persistent("192.0.2.9:80", ipvs.Persistence{Timeout: -time.Second}),
	"persistence of too long":          persistent("192.0.2.9:80", ipvs.Persistence{Timeout: maxTimeout + time.Second}),
	"a mask of 33":                     persistent("192.0.2.9:80", ipvs.Persistence{Timeout: time.Second, Mask: 33}),
	"a mask of -2":                     persistent("192.0.2.9:80", ipvs.Persistence{Timeout: time.Second, Mask: -2}),
	"an IPv6 mask of 129":              persistent("[2001:db8::9]:80", ipvs.Persistence{Timeout: time.Second, Mask: 129}),
	"MaskAll of IPv6":                  persistent("[2001:db8::9]:80", ipvs.Persistence{Timeout: time.Second, Mask: ipvs.MaskAll}),
	"the engine sip of TCP":            persistent("192.0.2.9:80", ipvs.Persistence{Timeout: time.Second, Engine: "sip"}),
	"an engine that is no name":        persistent("192.0.2.9:80", ipvs.Persistence{Timeout: time.Second, Engine: "a/b"}),
}

func persistent(s string, p ipvs.Persistence) ipvs.Service {
	return ipvs.Service{ID: tcp(s), Persistence: p}
}

func addrPort(a [4]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(a), port)
}
