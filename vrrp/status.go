package vrrp

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"
)

// Status is what a Router is and has seen.
type Status struct {
	Name      string
	Interface string
	VRID      uint8
	Version   Version
	Addresses []netip.Addr

	State    State
	Reason   Reason    // of the last transition
	Since    time.Time // of the last transition; wall clock
	Faults   []Reason  // what is wrong now
	Priority uint8     // effective: with the trackers' weights
	Interval time.Duration
	Source   netip.Addr // what it sends from; invalid if none
	// Active is the router that is Active: itself in Active, the one it listens to in
	// Backup; invalid if none is heard.
	Active         netip.Addr
	ActivePriority uint8
	ActiveInterval time.Duration // learned (RFC 9568: Active_Adver_Interval)
	// Held says that the last Acquire succeeded and no Release came after it.
	Held      bool
	BinderErr error // of the Binder's last call

	// Rivals are other Active routers that it hears while it is Active, at most 16: the
	// addresses are in more than one place. See TwoActive.
	Rivals []netip.Addr
	Peers  []Peer // heard lately, at most 16
	Stats  Stats
}

// Stats counts since New. A packet with a VRID that no Router of the Run has is
// counted nowhere: the kernel drops it.
type Stats struct {
	Sent             uint64 // advertisements, one for each destination
	SendErrors       uint64
	SentZero         uint64 // those of priority 0
	Received         uint64 // accepted
	ReceivedZero     uint64
	BySecondPath     uint64 // accepted from the second path
	Dropped          Drops
	WithPseudoHeader uint64 // VRRPv3 over IPv4, by the form of the checksum
	MessageOnly      uint64
	BecameActive     uint64
	BecameBackup     uint64
	BecameFault      uint64
	Announced        uint64 // calls of Binder.Announce
	BinderErrors     uint64
	TwoActive        uint64 // other Active routers that were heard, as the event of that name

	// Timers that came more than half an interval late, and the latest ever.
	LateTimers uint64
	Latest     time.Duration
	// Times the Router gave way because it had been starved.
	Starved uint64
	// Events that were merged or dropped because OnEvent was slow.
	LostEvents uint64
}

// Drops counts packets that were not accepted, by their Drop. In JSON it has the
// names of those that are not zero.
type Drops [numDrops]uint64

// MarshalJSON makes an object of names and numbers.
func (d Drops) MarshalJSON() ([]byte, error) {
	named := map[Drop]uint64{}
	for reason, n := range d {
		if n > 0 {
			named[Drop(reason)] = n
		}
	}
	return json.Marshal(named)
}

// MarshalJSON makes an object with the names of the fields; BinderErr is its text.
func (s Status) MarshalJSON() ([]byte, error) {
	type fields Status
	text := ""
	if s.BinderErr != nil {
		text = s.BinderErr.Error()
	}
	return json.Marshal(struct {
		fields
		BinderErr string
	}{fields(s), text})
}

// Status is what the Router is and has seen: now, or at the end of the last Run.
func (r *Router) Status() Status {
	answer := make(chan Status, 1)
	r.mu.Lock()
	told := r.tell(func(l *loop, i *instance) { answer <- i.status(l.notify) })
	r.mu.Unlock()
	if told {
		return <-answer
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.last
	s.describe(r.cfg)
	s.Priority, _ = effective(r.cfg.Priority, r.weights())
	s.Faults, s.Rivals, s.Peers, s.Stats = slices.Clone(s.Faults), slices.Clone(s.Rivals), slices.Clone(s.Peers), r.stats
	return s
}

// describe fills in what the configuration says.
func (s *Status) describe(c *Config) {
	s.Name, s.Interface, s.VRID, s.Version = c.Name, c.Interface, c.VRID, c.Version
	s.Addresses, s.Interval = slices.Clone(c.Addresses), c.Interval
}

// status is a copy of all there is to tell.
func (i *instance) status(n *notifier) Status {
	s := Status{
		State: i.m.state, Reason: i.m.reason, Since: i.since, Faults: i.m.faults(), Source: i.source,
		Held: i.hold.held, BinderErr: i.hold.err, Stats: i.stats,
	}
	s.describe(i.cfg)
	s.Priority = i.m.priority
	s.Active, s.ActivePriority, s.ActiveInterval = i.m.active()
	for _, r := range i.m.reign.rivals {
		s.Rivals = append(s.Rivals, r.Addr)
	}
	for _, p := range i.o.peers() {
		p.Addresses = slices.Clone(p.Addresses)
		s.Peers = append(s.Peers, p)
	}
	s.Stats.LostEvents += n.lostOf(i)
	return s
}
