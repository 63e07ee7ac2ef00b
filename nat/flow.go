package nat

import (
	"cmp"
	"net/netip"
	"slices"
)

// flow is what conntrack knows of one.
type flow struct {
	protocol   Protocol
	src, dst   netip.AddrPort // as its first packet came
	from, to   netip.AddrPort // as it goes on: what the answers go to, and come from
	snat, dnat bool           // rules of NAT made the difference; IPVS makes one, too
}

// connectionless tells the protocols whose flows are not opened and closed: all but
// TCP, SCTP and DCCP.
func (p Protocol) connectionless() bool { return p != TCP && p != SCTP && p != 33 }

// connectionless tells a rule that may rewrite such flows.
func (r *Rule) connectionless() bool { return r.Protocol == 0 || r.Protocol.connectionless() }

// side is what of a flow a rule rewrites. Each has rules and an outcome of its own.
type side int

const (
	destinations side = iota
	sources
)

// ranked is a rule among those of its side. A hairpin is one of the sources, apart
// from its rule.
type ranked struct {
	rule    *Rule
	order   int
	added   bool
	hairpin bool
}

// ranking finds the rules that match a flow among many.
type ranking struct {
	published     map[published]ranked
	bySource      map[netip.Addr][]ranked
	byDestination map[netip.Addr][]ranked
	others        []ranked
}

// put adds a rule to the sides that it is on.
func put(sides *[2]ranking, r *Rule, order int, added bool) {
	p := ranked{rule: r, order: order, added: added}
	switch {
	case r.Exact():
		to := &sides[destinations].published
		if *to == nil {
			*to = map[published]ranked{}
		}
		p.order = -1 // before all others
		for at := range r.publishes() {
			(*to)[at] = p
		}
	case r.Action.destination():
		sides[destinations].add(p, r.Source, r.Destination)
	default:
		sides[sources].add(p, r.Source, r.Destination)
	}
	if r.Hairpin.IsValid() {
		p.order, p.hairpin = -1, true
		sides[sources].add(p, r.Hairpin, prefixOf(r.To))
	}
}

func (l *ranking) add(p ranked, source, destination netip.Prefix) {
	file := func(m *map[netip.Addr][]ranked, a netip.Addr) {
		if *m == nil {
			*m = map[netip.Addr][]ranked{}
		}
		(*m)[a] = append((*m)[a], p)
	}
	switch {
	case destination.IsSingleIP():
		file(&l.byDestination, destination.Addr())
	case source.IsSingleIP():
		file(&l.bySource, source.Addr())
	default:
		l.others = append(l.others, p)
	}
}

// of are the rules that match a flow, in order. Interfaces are not known, and count
// as matching.
func (l *ranking) of(k side, f *flow) (list []ranked) {
	to := f.dst
	if k == sources {
		to = f.to
	}
	if p, ok := l.published[published{f.dst.Addr(), f.protocol, f.dst.Port()}]; ok {
		list = append(list, p)
	}
	for _, some := range [][]ranked{l.byDestination[to.Addr()], l.bySource[f.src.Addr()], l.others} {
		for i := range some {
			if some[i].matches(f, to) {
				list = append(list, some[i])
			}
		}
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return cmp.Compare(a.order, b.order) })
	return list
}

func (p *ranked) matches(f *flow, to netip.AddrPort) bool {
	r := p.rule
	if p.hairpin {
		return f.dnat && r.Hairpin.Contains(f.src.Addr()) && r.To == f.to.Addr()
	}
	return r.Protocol.has(f.protocol) && (r.family() == IPv4) == f.src.Addr().Is4() &&
		within(r.Source, r.SourcePort, f.src) && within(r.Destination, r.DestinationPort, to) && within(r.Original, r.OriginalPort, f.dst)
}

// has tells whether a rule for a protocol is for this one.
func (p Protocol) has(q Protocol) bool { return p == 0 || p == q }

func within(p netip.Prefix, ports Ports, a netip.AddrPort) bool {
	return (!p.IsValid() || p.Contains(a.Addr())) && ports.has(a.Port())
}

// has tells whether a port is in the range.
func (p Ports) has(port uint16) bool { return p == Ports{} || p.First <= port && port <= p.Last }

// outcome is whether a flow is as a rule makes it.
type outcome int

const (
	elsewhere outcome = iota
	surely
	perhaps // the rule leaves the address to the machine
)

// leads compares a flow with what a rule that matches makes of it.
func (p *ranked) leads(k side, f *flow) outcome {
	r := p.rule
	var is bool
	switch {
	case p.hairpin:
		if f.snat {
			return perhaps
		}
		return elsewhere
	case r.Action == DNAT:
		is = f.to == netip.AddrPortFrom(r.To, r.port(f.dst.Port()))
	case r.Action == SNAT:
		is = f.from.Addr() == r.To && r.ToPort.has(f.from.Port())
	case k == destinations && f.dnat && f.to.Port() == r.port(f.dst.Port()), k == sources && f.snat && r.ToPort.has(f.from.Port()):
		return perhaps
	}
	if is {
		return surely
	}
	return elsewhere
}

// port is where DNAT or Redirect leads a port.
func (r *Rule) port(n uint16) uint16 {
	switch r.ToPort.Len() {
	case 0:
		return n
	case 1:
		return r.ToPort.First
	}
	return r.ToPort.First + (n - r.DestinationPort.First)
}

// certain tells whether all that the rule wants of a flow is known here: so no
// interface, and no doubt whether it holds for the gateway's own flows.
func (p *ranked) certain(k side) bool {
	switch r := p.rule; {
	case p.hairpin:
		return true
	case k == sources:
		return r.Out == ""
	default:
		return r.In == "" && r.Action == DNAT && r.Destination.IsValid()
	}
}
