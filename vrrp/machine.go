package vrrp

import (
	"net/netip"
	"time"
)

// machine is the election of one router: RFC 9568, section 6.4, and what
// keepalived has added. It has no clock: every step is told the time.
type machine struct {
	cfg *Config
	// ...
}

// newMachine makes a machine in Initialize. cfg is valid and complete.
func newMachine(cfg *Config) *machine { return &machine{cfg: cfg} }

// step takes an input at time now and returns what is to be done, in order; for
// members of a sync group it may be things to do for other members. The slice is
// valid until the next step of any machine of the group. now never goes back.
func (m *machine) step(now time.Duration, in input) []action { return nil }

// deadline is when the machine wants its next tick; ok is false if it wants none.
func (m *machine) deadline() (at time.Duration, ok bool) { return 0, false }

// An input is what happens to a machine.
type input struct {
	kind     inputKind
	from     netip.Addr    // advert, beat: its source
	local    netip.Addr    // advert: our own address that it is compared with in a tie; source: the new one
	priority uint8         // advert, beat: of the sender; priority: our effective priority
	interval time.Duration // advert, beat: the sender's (v3: to be learned)
	fault    Reason        // fault: what; one of the Reasons that lead to Fault
	on       bool          // fault: it began (true) or is over; witness: it agrees
	cfg      *Config       // config: valid and complete; interface, VRID and version are as before
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
	inWitness            // the answer to actWitness
)

// An action is what the loop has to do for a machine.
type action struct {
	m        *machine
	kind     actionKind
	priority uint8 // advertise
	event    Event // event: all but Time, Router, VRID, and of Peer only Addr, Priority and Interval
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
