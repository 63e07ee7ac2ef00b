package vrrp

import (
	"math"
	"net/netip"
	"time"
)

// machine is the election of one router: RFC 9568, section 6.4, and what
// keepalived has added. It has no clock: every step is told the time. A machine
// alone is a sync group of one.
//
// machine_backup.go and machine_active.go have one step function for each state,
// machine_become.go one becomeX for each transition, timers.go the arithmetic,
// group.go what members of a sync group do to each other.
type machine struct {
	cfg      *Config
	group    *Group // its own if the configuration names none
	out      *outbox
	state    State
	reason   Reason // of the last transition
	priority uint8  // effective
	source   netip.Addr
	causes   faultSet // own faults, those of other members not counted

	notBefore time.Duration // end of StartupDelay
	highest   uint8         // highest priority that was heard of others, not 0
	ownerDead time.Duration // Fault: when the duplicate owner counts as silent

	wait    waiting // in Backup
	reign   reign   // in Active
	answers answers
	path    secondPath
}

// outbox collects the actions of one step, of all members of a group.
type outbox struct{ actions []action }

// newMachine makes a machine in Initialize. cfg is valid and complete. With a
// Group it joins the other members of that group.
func newMachine(cfg *Config) *machine {
	m := &machine{cfg: cfg, group: cfg.Group, priority: cfg.Priority, source: cfg.Source}
	m.answers.last = math.MinInt64 / 2
	if m.group == nil {
		m.group = NewGroup("")
	}
	m.group.members = append(m.group.members, m)
	m.out = &m.group.out
	return m
}

// step takes an input at time now and returns what is to be done, in order; for
// members of a sync group it may be things to do for other members, the
// deadlines of which may have changed too. The slice is valid until the next step
// of any machine of the group. now never goes back.
//
// Timers fire by inTick alone, so that whatever has arrived before a deadline is
// seen before it is acted upon, however late the caller is.
func (m *machine) step(now time.Duration, in input) []action {
	m.out.actions = m.out.actions[:0]
	m.fence(now)
	switch in.kind {
	case inSource:
		m.source = in.local
	case inFault:
		m.setFault(now, in.fault, in.on)
	case inPriority:
		m.priority = in.priority
	case inConfig:
		m.configure(now, in)
	default:
		m.stepState(now, in)
	}
	return m.out.actions
}

func (m *machine) stepState(now time.Duration, in input) {
	switch m.state {
	case Initialize:
		m.stepInitialize(now, in)
	case Backup:
		m.stepBackup(now, in)
	case Active:
		m.stepActive(now, in)
	case Fault:
		m.stepFault(now, in)
	}
}

// deadline is when the machine wants its next tick; ok is false if it wants none.
func (m *machine) deadline() (at time.Duration, ok bool) {
	switch m.state {
	case Backup:
		return m.downAt(), !m.wait.expired
	case Active:
		return m.reign.next(), true
	case Fault:
		return m.ownerDead, m.causes.has(ReasonDuplicateOwner)
	}
	return 0, false
}

// active is the Active router, as far as this one knows: its address, priority
// and interval. The address is invalid if there is none.
func (m *machine) active() (addr netip.Addr, priority uint8, interval time.Duration) {
	switch m.state {
	case Active:
		return m.source, m.priority, m.cfg.Interval
	case Backup:
		p := m.wait.heard
		if m.wait.expired || !p.Addr.IsValid() {
			p = m.wait.lower
		}
		return p.Addr, p.Priority, p.Interval
	}
	return netip.Addr{}, 0, 0
}

// An input is what happens to a machine.
type input struct {
	kind     inputKind
	from     netip.Addr    // advert, beat: its source
	local    netip.Addr    // advert: our own address that it is compared with in a tie; source: the new one
	priority uint8         // advert, beat: of the sender; priority, config: our effective priority (config: 0 is the base)
	interval time.Duration // advert, beat: the sender's (v3: to be learned)
	fault    Reason        // fault: what; one of the Reasons that lead to Fault
	on       bool          // fault: it began (true) or is over; witness: it agrees
	cfg      *Config       // config: valid and complete; interface, VRID and version are as before
}

// peer is the sender of an advertisement or beat.
func (in *input) peer() Peer {
	return Peer{Addr: in.from, Priority: in.priority, Interval: in.interval}
}

type inputKind uint8

const (
	inStart    inputKind = iota + 1
	inStop               // Run ends
	inTick               // time has passed; also harmless without a deadline
	inAdvert             // an advertisement that the codec has accepted
	inBeat               // one that came by the second path
	inSource             // our source address has changed
	inFault              // a fault began or is over; they are counted by kind, not nested
	inPriority           // the effective priority has changed
	inConfig             // the configuration has changed
	inRival              // an advertisement of our VRID, priority not 0, that the codec has not accepted
	inWitness            // the answer to the last actWitness; it is ignored if that is void by now
)

// An action is what the loop has to do for a machine.
type action struct {
	m        *machine
	kind     actionKind
	priority uint8 // advertise
	event    Event // event: all but Time, Router, VRID, Err, and of Peer only Addr, Priority and Interval
}

type actionKind uint8

const (
	actAdvertise actionKind = iota + 1 // send an advertisement, by both paths
	actAcquire                         // make the Binder hold the addresses, then announce them
	actRelease                         // make it release them
	actAnnounce                        // announce them again
	actWitness                         // ask the witness; the answer comes as inWitness
	actEvent
)

func (m *machine) do(kind actionKind) {
	m.out.actions = append(m.out.actions, action{m: m, kind: kind})
}

func (m *machine) tell(e Event) {
	m.out.actions = append(m.out.actions, action{m: m, kind: actEvent, event: e})
}

func (m *machine) advertise(priority uint8) {
	m.out.actions = append(m.out.actions, action{m: m, kind: actAdvertise, priority: priority})
}
