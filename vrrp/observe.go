package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// observedPeers is how many other routers are remembered.
	observedPeers = 16
	// observedLately is how long a silent one is.
	observedLately = 10 * time.Minute
	// unheardDowns is after how many Active_Down_Intervals of Active without any
	// other router NoPeerHeard comes.
	unheardDowns = 10
)

// observer watches what the other routers do, as far as the election does not
// mind it: whether they are configured as this one is, and whether there are any.
type observer struct {
	cfg    *Config
	ours   addressSet
	now    time.Duration
	seen   []observed
	events []Event

	heard  bool // any other router, ever
	told   bool // NoPeerHeard
	active bool // as of the last tick
	since  time.Duration
}

// observed is another router, and what was told of it.
type observed struct {
	peer    Peer
	last    time.Duration
	told    Mismatch
	foreign bool
}

func newObserver(cfg *Config) *observer {
	o := &observer{}
	o.config(cfg)
	return o
}

// config changes the configuration. Differences that are left are told again.
func (o *observer) config(cfg *Config) {
	o.cfg = cfg
	o.ours.config(cfg.Addresses)
	for i := range o.seen {
		o.seen[i].told, o.seen[i].foreign = 0, false
	}
}

// packet takes note of what decode has made of a packet, accepted or not. The
// slice is valid until the next call. What comes by the second path counts for
// nothing: it says little about the link that matters.
func (o *observer) packet(now time.Duration, h header, p *Packet, d Drop) []Event {
	o.now = now
	var differs Mismatch
	switch d {
	case DropNone, DropInterval, DropAddresses, DropReplay:
	case DropVersion:
		differs = VersionMismatch
	case DropAuthType, DropAuthData, DropClock:
		differs = AuthMismatch
	default:
		return nil // not of this virtual router, or not to be trusted at all
	}
	if h.second {
		return nil
	}
	o.heard = true
	e := o.entry(h.src, d == DropNone)
	if e == nil {
		return nil
	}
	e.update(now, p)
	o.events = o.events[:0]
	if len(p.Addresses) > 0 && o.ours.foreign(p.Addresses) {
		if !e.foreign {
			e.foreign = true
			o.events = append(o.events, Event{Kind: ForeignCluster, Peer: e.peer})
		}
		return o.events
	}
	if len(p.Addresses) > 0 && !o.ours.same(p.Addresses) {
		differs |= AddressMismatch
	}
	if p.Version == o.cfg.Version && p.Interval != o.cfg.Interval {
		differs |= IntervalMismatch
	}
	if p.Priority == o.cfg.Priority && d == DropNone {
		differs |= EqualPriority
	}
	if differs &^= e.told; differs != 0 {
		e.told |= differs
		o.events = append(o.events, Event{Kind: PeerDiffers, Peer: e.peer, Mismatch: differs})
	}
	return o.events
}

// entry is where src is remembered; nil if there is no room. A router that is
// accepted makes room for itself, the others have to wait until one has been
// silent for long: else a forger of sources could cause events without end.
func (o *observer) entry(src netip.Addr, accepted bool) *observed {
	oldest := 0
	for i := range o.seen {
		if o.seen[i].peer.Addr == src {
			return &o.seen[i]
		}
		if o.seen[i].last < o.seen[oldest].last {
			oldest = i
		}
	}
	switch {
	case len(o.seen) < observedPeers:
		oldest = len(o.seen)
		o.seen = append(o.seen, observed{})
	case !accepted && o.now-o.seen[oldest].last < observedLately:
		return nil
	}
	o.seen[oldest] = observed{peer: Peer{Addr: src}}
	return &o.seen[oldest]
}

// update remembers p. The addresses are copied if they have changed, never
// overwritten, so that events and Status may share them.
func (e *observed) update(now time.Duration, p *Packet) {
	e.last = now
	e.peer.Version, e.peer.Priority, e.peer.Interval = p.Version, p.Priority, p.Interval
	if !slices.Equal(e.peer.Addresses, p.Addresses) {
		e.peer.Addresses = slices.Clone(p.Addresses)
	}
}

// tick takes note of the time and of the router's own state. Once in each
// interval is enough.
func (o *observer) tick(now time.Duration, s State) []Event {
	o.now = now
	if s != Active {
		o.active = false
		return nil
	}
	if !o.active {
		o.active, o.since = true, now
	}
	down := time.Duration(o.cfg.DownCount)*o.cfg.Interval + skew(o.cfg.Version, o.cfg.Priority, o.cfg.Interval)
	if o.heard || o.told || now-o.since < unheardDowns*down {
		return nil
	}
	o.told = true
	o.events = append(o.events[:0], Event{Kind: NoPeerHeard})
	return o.events
}

// peers are the routers that were heard lately, by address.
func (o *observer) peers() []Peer {
	var list []Peer
	for i := range o.seen {
		if o.now-o.seen[i].last < observedLately {
			list = append(list, o.seen[i].peer)
		}
	}
	slices.SortFunc(list, func(a, b Peer) int { return a.Addr.Compare(b.Addr) })
	return list
}
