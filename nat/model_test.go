package nat

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// The model tells what becomes of a packet by the documentation of Rule alone, so
// that tests can compare what packets do with it. It knows no backend, and uses
// none of the package's own predicates.

// here is where the gateway's own connections begin, and where those end that it
// takes itself.
const here = "gateway"

// machine is a gateway: its interfaces, the last of which has the default route.
type machine struct {
	nics []nic
	lost []netip.Prefix // networks that it has no way to
}

type nic struct {
	name  string
	addrs []netip.Prefix // one of each family
}

// gateway is the machine of the tests: an inside network, that of guests, and the
// world outside.
var gateway = machine{
	nics: []nic{
		{"eth0", prefixes("192.168.160.1/24", "fd00::1/64")},
		{"eth2", prefixes("172.16.0.1/24", "fd01::1/64")},
		{"eth1", prefixes("12.0.0.1/24", "2001:db8::1/64")},
	},
	lost: prefixes("198.51.100.0/24", "2001:db8:dead::/48"),
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// packet is the first one of a connection. Its source port is the identifier of an ICMP
// echo, and zero where there are no ports.
type packet struct {
	protocol Protocol
	in       string // an interface, or here
	src, dst netip.AddrPort
}

func (p packet) v6() bool { return p.dst.Addr().Is6() }

func (p packet) String() string {
	return fmt.Sprintf("%s %s > %s by %s", p.protocol, p.src, p.dst, p.in)
}

// arrival is where a packet came out and what it had become. The zero value is nowhere.
type arrival struct {
	at       string // an interface, or here
	src, dst netip.AddrPort
	ports    Ports // src has any of them; zero: its own
}

func (a arrival) String() string {
	switch {
	case a.at == "":
		return "nowhere"
	case a.ports != Ports{}:
		return fmt.Sprintf("%s:%s > %s by %s", a.src.Addr(), a.ports, a.dst, a.at)
	}
	return fmt.Sprintf("%s > %s by %s", a.src, a.dst, a.at)
}

// is tells whether what arrived is what was foretold.
func (a arrival) is(want arrival) bool {
	if want.ports != (Ports{}) && a.src.Port() >= want.ports.First && a.src.Port() <= want.ports.Last {
		a.src, a.ports = netip.AddrPortFrom(a.src.Addr(), want.src.Port()), want.ports
	}
	return a == want
}

// local tells the machine's own addresses.
func (m machine) local(a netip.Addr) bool {
	return slices.ContainsFunc(m.nics, func(n nic) bool { return n.address(a.Is6()) == a })
}

func (n nic) address(v6 bool) netip.Addr {
	for _, p := range n.addrs {
		if p.Addr().Is6() == v6 {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

func (m machine) nic(name string) nic {
	return m.nics[slices.IndexFunc(m.nics, func(n nic) bool { return n.name == name })]
}

// route is where packets to an address go, "" for nowhere.
func (m machine) route(a netip.Addr) string {
	contains := func(p netip.Prefix) bool { return p.Contains(a) }
	if m.local(a) {
		return here
	}
	if slices.ContainsFunc(m.lost, contains) {
		return ""
	}
	for _, n := range m.nics {
		if slices.ContainsFunc(n.addrs, func(p netip.Prefix) bool { return p.Masked().Contains(a) }) {
			return n.name
		}
	}
	return m.nics[len(m.nics)-1].name
}

// deliver tells where a packet arrives, and the rules that rewrite it.
func (m machine) deliver(list []Rule, p packet) (a arrival, hits []Rule) {
	if p.in == here && m.route(p.dst.Addr()) == "" {
		return a, nil // there is no connection to begin with
	}
	asked := p.dst
	p, hits = m.forward(list, p)
	a = arrival{at: m.route(p.dst.Addr()), src: p.src, dst: p.dst}
	if a.at == "" {
		return arrival{}, hits
	}
	if a.at == here {
		return a, hits // of what the gateway says to itself the tests ask nothing
	}
	if p.dst != asked && hairpinned(list, p) {
		a.src = netip.AddrPortFrom(m.nic(a.at).address(p.v6()), p.src.Port())
		return a, hits
	}
	for _, r := range list {
		if r.Action != SNAT && r.Action != Masquerade || !matches(r, p, asked, a.at) {
			continue
		}
		to := r.To
		if r.Action == Masquerade {
			to = m.nic(a.at).address(p.v6())
		}
		a.src = netip.AddrPortFrom(to, p.src.Port())
		switch {
		case r.ToPort.Len() == 1:
			a.src = netip.AddrPortFrom(to, r.ToPort.First)
		case r.ToPort != Ports{}:
			a.ports = r.ToPort
		case r.Random && p.protocol != gre:
			a.ports = Ports{0, 65535}
		}
		return a, append(hits, r)
	}
	return a, hits
}

// forward is the packet with the destination that the rules give it.
func (m machine) forward(list []Rule, p packet) (packet, []Rule) {
	r, ok := destinationRule(list, p)
	if !ok {
		return p, nil
	}
	p.dst = m.destination(r, p)
	return p, []Rule{r}
}

// destinationRule is the one that changes where the packet goes: the one that publishes
// what it asks for, whatever its place, or else the first that matches.
func destinationRule(list []Rule, p packet) (Rule, bool) {
	changes := func(r Rule) bool {
		return (r.Action == DNAT || r.Action == Redirect) && matches(r, p, p.dst, "")
	}
	if i := slices.IndexFunc(list, func(r Rule) bool { return publishing(r) && changes(r) }); i >= 0 {
		return list[i], true
	}
	i := slices.IndexFunc(list, func(r Rule) bool {
		own := r.Action == DNAT && r.In == "" && r.Destination.IsValid()
		return changes(r) && (p.in != here || own)
	})
	if i < 0 {
		return Rule{}, false
	}
	return list[i], true
}

// publishing tells the rules that come first, see Rule.Exact.
func publishing(r Rule) bool {
	ports := r.DestinationPort.Len() == 1 || shifting(r)
	return r.Action == DNAT && r.Destination.IsSingleIP() && ports &&
		!r.Source.IsValid() && r.SourcePort == Ports{} && r.In == ""
}

// shifting tells a rule that has another port for each.
func shifting(r Rule) bool { return r.ToPort.Len() > 1 && r.ToPort != r.DestinationPort }

// destination is what a rule makes of the packet's destination.
func (m machine) destination(r Rule, p packet) netip.AddrPort {
	to, port := r.To, p.dst.Port()
	if r.Action == Redirect {
		to = m.nic(p.in).address(p.v6())
	}
	switch {
	case r.ToPort == Ports{}:
	case r.ToPort.Len() == 1:
		port = r.ToPort.First
	default:
		port += r.ToPort.First - r.DestinationPort.First
	}
	return netip.AddrPortFrom(to, port)
}

// matches compares all that a rule asks for.
func matches(r Rule, p packet, asked netip.AddrPort, out string) bool {
	family := cmp.Or(r.told(), r.Family)
	return (family == IPv6) == p.v6() &&
		(r.Protocol == 0 || r.Protocol == p.protocol) &&
		(r.In == "" || r.In == p.in) && (r.Out == "" || r.Out == out) &&
		matchesEnd(r.Source, r.SourcePort, p.src) && matchesEnd(r.Destination, r.DestinationPort, p.dst) &&
		matchesEnd(r.Original, r.OriginalPort, asked)
}

// matchesEnd compares one end of a packet with what a rule asks for.
func matchesEnd(network netip.Prefix, ports Ports, a netip.AddrPort) bool {
	return (!network.IsValid() || network.Contains(a.Addr())) &&
		(ports == Ports{} || a.Port() >= ports.First && a.Port() <= ports.Last)
}

// hairpinned tells what the server would answer without the gateway.
func hairpinned(list []Rule, p packet) bool {
	return slices.ContainsFunc(list, func(r Rule) bool {
		return r.Hairpin.IsValid() && r.Hairpin.Contains(p.src.Addr()) && r.To == p.dst.Addr()
	})
}

// echoes tells the protocols of ping.
func echoes(p Protocol) bool { return p == 1 || p == 58 }

// Source ports of packets. Rules that choose one take others, from chosenFirst on.
var (
	lowPorts  = Ports{2000, 29999}
	highPorts = Ports{30000, 59999}
)

// withPort is the same address with another port.
func withPort(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}
