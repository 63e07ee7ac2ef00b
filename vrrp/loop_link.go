package vrrp

import (
	"maps"
	"net/netip"
)

// rewire works out who hears what, and tells the edge.
func (l *loop) rewire() {
	l.heard, l.lastPort, l.lastHeard = map[port]*[256]listeners{}, port{}, nil
	l.virtual = map[netip.Addr]bool{}
	clear(l.sources)
	var wants []want
	for _, i := range l.instances {
		for _, a := range i.cfg.Addresses {
			l.virtual[a] = true
		}
		i.wired = i.wants()
		for _, w := range i.wired {
			wants = append(wants, w)
			table := l.heard[w.port]
			if table == nil {
				table = new([256]listeners)
				l.heard[w.port] = table
			}
			if w.port.ifname == i.cfg.Interface {
				table[w.vrid].first = i
			} else {
				table[w.vrid].second = i
			}
		}
	}
	l.edge.want(wants)
}

// linksChanged takes what the edge has read: all the interfaces that are wanted.
func (l *loop) linksChanged(links map[string]link) {
	l.links, l.linked = maps.Clone(links), true
	clear(l.sources)
	for _, i := range l.instances {
		l.link(i)
		l.start(i)
	}
}

// link tells a machine how its interface is.
func (l *loop) link(i *instance) {
	c := i.cfg
	k := l.links[c.Interface]
	down := k.exists && (!k.up || !k.carrier && !c.IgnoreLink)
	source := l.pick(i, c.Interface, c.Source, c.Peers)
	i.source2 = l.pick(i, c.SecondPath.Interface, c.SecondPath.Source, c.SecondPath.Peers)
	if source.IsValid() && source != i.source {
		i.source = source
		l.step(i, input{kind: inSource, local: source})
	}
	// what is over comes last, so that no moment looks healthy that is not
	l.faultOn(i, &i.faults.iface, ReasonInterface, !k.exists)
	switch {
	case !down:
		i.linkDown = never
	case c.LinkDebounce > 0 && i.started && !i.faults.link && i.linkDown == never:
		i.linkDown = l.clock + c.LinkDebounce
	case c.LinkDebounce == 0 || !i.started:
		l.faultOn(i, &i.faults.link, ReasonLink, true)
	}
	l.faultOn(i, &i.faults.source, ReasonSource, k.exists && !source.IsValid())
	if !source.IsValid() {
		i.source = source
	}
	if !down {
		l.faultOff(i, &i.faults.link, ReasonLink, false)
	}
	l.faultOff(i, &i.faults.source, ReasonSource, k.exists && !source.IsValid())
	l.faultOff(i, &i.faults.iface, ReasonInterface, !k.exists)
	l.plan(i)
}

// sourceKey is all that the choice of a source depends on, beside the links.
type sourceKey struct {
	ifname             string
	wanted             netip.Addr
	six, global, owner bool
}

// pick chooses a source. Hundreds of Routers on one interface make one choice.
func (l *loop) pick(i *instance, ifname string, wanted netip.Addr, peers []netip.Addr) netip.Addr {
	key := sourceKey{ifname, wanted, i.cfg.ipv6(), wantsGlobal(peers), i.cfg.Priority == owner}
	addr, ok := l.sources[key]
	if !ok {
		addr = chooseSource(l.links[ifname], wanted, key.six, key.global, key.owner, func(a netip.Addr) bool { return l.virtual[a] })
		l.sources[key] = addr
	}
	return addr
}

func (l *loop) faultOn(i *instance, told *bool, why Reason, on bool) {
	if on {
		l.fault(i, told, why, true)
	}
}

func (l *loop) faultOff(i *instance, told *bool, why Reason, on bool) {
	if !on {
		l.fault(i, told, why, false)
	}
}

// fault tells a machine that a fault began or is over, if that is news.
func (l *loop) fault(i *instance, told *bool, why Reason, on bool) {
	if *told == on || l.stopping {
		return
	}
	*told = on
	l.step(i, input{kind: inFault, fault: why, on: on})
}

// weigh tells a machine its effective priority.
func (l *loop) weigh(i *instance, trackers []weight) {
	if l.stopping {
		return
	}
	effect, fault := effective(i.cfg.Priority, trackers)
	l.step(i, input{kind: inPriority, priority: effect})
	l.fault(i, &i.faults.tracker, ReasonTracker, fault)
}
