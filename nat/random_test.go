package nat

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// random makes rules and packets out of few enough values that they meet each other.
type random struct{ *rand.Rand }

func pick[T any](r random, values ...T) T { return values[r.IntN(len(values))] }

// maybe is a value in some of the cases, else zero.
func maybe[T any](r random, percent int, value T) (v T) {
	if r.IntN(100) < percent {
		return value
	}
	return v
}

// place is the address of one of these places.
func (r random) place(v6 bool, names ...string) netip.Addr {
	return netip.MustParseAddr(places[pick(r, names...)][map[bool]int{true: 1}[v6]])
}

// network is one of these places or networks, or none.
func (r random) network(v6 bool, names ...string) netip.Prefix {
	name := pick(r, names...)
	if name == "" {
		return netip.Prefix{}
	}
	text := places[name][map[bool]int{true: 1}[v6]]
	if p, err := netip.ParsePrefix(text); err == nil {
		return p
	}
	return prefixOf(netip.MustParseAddr(text))
}

// ports are few, many or all.
func (r random) ports() Ports {
	return pick(r, Ports{}, Port(80), Port(81), Port(443), Port(8080), Ports{80, 81}, Ports{79, 90}, Ports{70, 80}, Ports{50, 500}, Ports{1, 65535})
}

// chosenPorts are what rules choose from as sources. No packet has any of them.
func (r random) chosenPorts() Ports {
	return pick(r, Ports{}, Ports{}, Ports{60000, 61999}, Ports{61000, 65535})
}

// rule is a valid rule.
func (r random) rule() Rule {
	for {
		rule := r.anyRule()
		if rule.Validate() == nil {
			return rule
		}
	}
}

// anyRule is a rule that may be invalid.
func (r random) anyRule() Rule {
	v6 := r.IntN(2) == 0
	rule := Rule{
		Name:        pick(r, "", "", "web", "a:b/c-d"),
		Action:      pick(r, DNAT, DNAT, DNAT, Redirect, SNAT, SNAT, Masquerade),
		Family:      IPv4,
		Protocol:    pick(r, 0, TCP, TCP, UDP, UDP, icmp4, gre),
		Source:      maybe(r, 50, r.network(v6, "inside", "lower", "pc", "guests", "outside", "client", "all", "gw")),
		Destination: maybe(r, 80, r.network(v6, "pub", "pub", "vip", "vip", "outside", "far", "all", "web", "inside", "lost")),
	}
	if v6 {
		rule.Family = IPv6
		if rule.Protocol == icmp4 {
			rule.Protocol = icmp6
		}
	}
	ported := rule.Protocol == TCP || rule.Protocol == UDP
	if ported {
		rule.DestinationPort = r.ports()
		rule.SourcePort = maybe(r, 15, pick(r, lowPorts, highPorts))
	}
	switch {
	case rule.Action == DNAT && ported && r.IntN(3) == 0:
		r.published(&rule, v6)
	case rule.Action == DNAT || rule.Action == Redirect:
		r.destination(&rule, v6, ported)
	default:
		r.source(&rule, v6, ported)
	}
	return rule
}

// published fills in what is looked up, see Rule.Exact.
func (r random) published(rule *Rule, v6 bool) {
	rule.Source, rule.SourcePort = netip.Prefix{}, Ports{}
	rule.Destination = r.network(v6, "pub", "vip", "far")
	rule.DestinationPort = pick(r, Port(80), Port(81), Port(443), Ports{80, 81}, Ports{440, 449})
	rule.To = r.place(v6, "web", "db", "guest")
	n := uint16(rule.DestinationPort.Len())
	first := pick(r, uint16(80), 8080)
	rule.ToPort = Ports{first, first + n - 1}
	rule.Hairpin = maybe(r, 30, r.network(v6, "inside", "lower", "guests"))
}

// destination fills in what DNAT and Redirect have.
func (r random) destination(rule *Rule, v6, ported bool) {
	rule.In = maybe(r, 25, pick(r, "eth0", "eth1", "eth2", "eth9"))
	rule.Source = maybe(r, 60, rule.Source)
	if ported {
		n := uint16(max(1, rule.DestinationPort.Len()) - 1)
		first := 1 + uint16(r.IntN(int(65535-n)))
		rule.ToPort = pick(r, Ports{}, Port(80), Port(8080), Ports{first, first + n}, Ports{first, first + n})
	}
	if rule.Action == DNAT {
		rule.To = r.place(v6, "web", "web", "db", "high", "guest", "gw", "pub", "other", "lost")
		rule.Hairpin = maybe(r, 30, r.network(v6, "inside", "lower", "guests", "all", "pc"))
	}
}

// source fills in what SNAT and Masquerade have.
func (r random) source(rule *Rule, v6, ported bool) {
	rule.Out = maybe(r, 50, pick(r, "eth0", "eth1", "eth1", "eth2", "eth9"))
	rule.Destination = maybe(r, 50, rule.Destination)
	rule.Original = maybe(r, 30, r.network(v6, "pub", "vip", "outside", "all"))
	rule.Random = r.IntN(5) == 0
	if ported {
		rule.ToPort = r.chosenPorts()
		rule.OriginalPort = maybe(r, 20, r.ports())
	}
	if rule.Action == SNAT {
		rule.To = r.place(v6, "pub", "vip", "gw", "gwguest")
	}
}

// ruleset is a valid list of about n rules.
func (r random) ruleset(n int) (list []Rule) {
	for range n {
		list = r.insert(list, r.another(list))
	}
	return list
}

// another is a rule that meets one of the list, often.
func (r random) another(list []Rule) Rule {
	if len(list) == 0 || r.IntN(2) == 0 {
		return r.rule()
	}
	for like := pick(r, list...); ; {
		if rule := r.rule(); kind(rule) == kind(like) {
			return rule
		}
	}
}

// kind tells apart the rules that never meet.
func kind(r Rule) string {
	r = r.normal()
	return fmt.Sprint(r.family(), r.Action == DNAT || r.Action == Redirect, publishing(r))
}

// insert puts a rule at any place, unless it cannot be there.
func (r random) insert(list []Rule, rule Rule) []Rule {
	return r.insertAt(r.IntN(len(list)+1), list, rule)
}

func (r random) insertAt(i int, list []Rule, rule Rule) []Rule {
	more := slices.Insert(slices.Clone(list), i, rule)
	if _, err := Plan(nil, more); err != nil {
		return list
	}
	return more
}

// mutate makes of a list one that has much in common with it.
func (r random) mutate(list []Rule) []Rule {
	list = slices.Clone(list)
	for range 1 + r.IntN(6) {
		if len(list) == 0 || r.IntN(4) == 0 {
			list = r.insert(list, r.another(list))
			continue
		}
		i := r.IntN(len(list))
		one := list[i]
		list = slices.Delete(list, i, i+1)
		switch r.IntN(4) {
		case 0: // it goes
		case 1: // it has another place
			list = r.insert(list, one)
		default: // it is another in its place
			list = r.insertAt(i, list, r.changed(one))
		}
	}
	return list
}

// changed is a rule with another name or target.
func (r random) changed(rule Rule) Rule {
	before := rule
	if rule.To.IsValid() {
		rule.To = r.place(rule.To.Is6(), "web", "pub", "vip")
	}
	if r.IntN(2) == 0 {
		rule.Name = pick(r, "", "web", "other")
	}
	if rule.Validate() != nil {
		return before
	}
	return rule
}

// packet is one that some rule of the list concerns, often.
func (r random) packet(list []Rule) packet {
	for {
		p := r.anyPacket(list)
		p.in = gateway.route(p.src.Addr())
		if sent, _ := gateway.forward(list, p); p.in == here && gateway.route(sent.dst.Addr()) == here {
			continue // the gateway speaks with itself
		}
		return p
	}
}

func (r random) anyPacket(list []Rule) (p packet) {
	rule := Rule{Family: pick(r, IPv4, IPv6)}
	if len(list) > 0 && r.IntN(8) > 0 {
		rule = pick(r, list...)
	}
	v6 := rule.family() == IPv6
	p.protocol = rule.Protocol
	if p.protocol == 0 || r.IntN(12) == 0 {
		p.protocol = pick(r, TCP, TCP, TCP, UDP, UDP, UDP, icmp4)
	}
	if p.protocol == icmp4 && v6 {
		p.protocol = icmp6
	}
	sport := pick(r, lowPorts, highPorts)
	if rule.SourcePort != (Ports{}) && r.IntN(4) > 0 {
		sport = rule.SourcePort
	}
	want := rule.Destination
	if rule.Original.IsValid() {
		want = rule.Original
	}
	src := r.within(rule.Source, v6, "pc", "web", "high", "guest", "client", "other", "far", "gw", "pub")
	dst := r.within(want, v6, "pub", "vip", "far", "client", "web", "guest", "db", "gw", "lost")
	dport := pick(r, rule.DestinationPort, rule.OriginalPort)
	p.src, p.dst = netip.AddrPortFrom(src, sport.First), netip.AddrPortFrom(dst, r.portOf(dport))
	switch {
	case echoes(p.protocol):
		p.dst = withPort(p.dst, 0)
	case p.protocol == gre:
		p.src, p.dst = withPort(p.src, 0), withPort(p.dst, 0)
	}
	return p
}

// within is one of the places, in the network if any is.
func (r random) within(network netip.Prefix, v6 bool, names ...string) netip.Addr {
	for range 20 {
		if a := r.place(v6, names...); !network.IsValid() || network.Contains(a) {
			return a
		}
	}
	return r.place(v6, names...)
}

// portOf is a port at an edge of the range, in it, or beside.
func (r random) portOf(ports Ports) uint16 {
	if ports == (Ports{}) {
		return pick(r, uint16(80), 81, 443, 8080, 53)
	}
	port := pick(r, ports.First, ports.Last, ports.First+uint16(r.IntN(ports.Len())), ports.First-1, ports.Last+1)
	return max(port, 1)
}

// Many sets of the generator have to be such that another order is another
// set, or that rules hide others: else they show little.
func TestRandomRulesMeetEachOther(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	const sets = 300
	differs, hits, packets, overlap := 0, 0, 0, 0
	actions := map[string]int{}
	for range sets {
		list := r.ruleset(10)
		turned := slices.Clone(list)
		slices.Reverse(turned)
		different := false
		for range 40 {
			p := r.packet(list)
			a, rules := gateway.deliver(list, p)
			b, _ := gateway.deliver(turned, p)
			different = different || a != b
			packets++
			if len(rules) > 0 {
				hits++
			}
			if len(rules) > 1 {
				overlap++
			}
			for _, r := range rules {
				actions[fmt.Sprintf("%s exact=%t local=%t random=%t shift=%t", r.Action, publishing(r), p.in == here, r.Random, shifting(r))]++
			}
		}
		if different {
			differs++
		}
	}
	t.Logf("%d of %d sets depend on the order, %d of %d packets meet a rule, %d two; %v", differs, sets, hits, packets, overlap, actions)
	if differs < sets/3 || hits < packets/3 || overlap < packets/100 {
		t.Errorf("%d of %d sets depend on the order, %d of %d packets meet a rule, %d two", differs, sets, hits, packets, overlap)
	}
}

func TestExactIsWhatIsPublished(t *testing.T) {
	r := random{rand.New(rand.NewPCG(3, 4))}
	for range 5000 {
		for _, rule := range []Rule{r.rule(), r.rule().normal()} {
			if rule.Exact() != publishing(rule) {
				t.Fatalf("%s: Exact is %t", rule, rule.Exact())
			}
		}
	}
}
