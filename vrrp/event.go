package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// An Event tells what happened to a Router, or what it noticed about others.
type Event struct {
	Kind   EventKind
	Time   time.Time // wall clock
	Router string    // Config.Name
	VRID   uint8

	// From, To, Reason and Priority (the effective one) are of a Transition.
	From, To State
	Reason   Reason
	Priority uint8

	// Peer is the other router that the event is about, if it is about one.
	Peer Peer
	// Mismatch is what differs, of PeerDiffers.
	Mismatch Mismatch
	// Late is how late a timer was, of LateTimer.
	Late time.Duration
	// Err is the cause of Vetoed and BinderFailed.
	Err error
}

// String is the event as a line of a log, such as "eth0/51: backup -> active (timeout)".
func (e Event) String() string {
	if e.Kind == Transition {
		return fmt.Sprintf("%s: %v -> %v (%v)", e.Router, e.From, e.To, e.Reason)
	}
	s := e.Router + ": " + e.Kind.String()
	switch {
	case e.Err != nil:
		return s + ": " + e.Err.Error()
	case e.Late != 0:
		return fmt.Sprintf("%s: %v", s, e.Late)
	case e.Kind == PeerDiffers:
		return fmt.Sprintf("%s: %v in %v: addresses %v every %v, priority %d", s, e.Peer.Addr, e.Mismatch, e.Peer.Addresses, e.Peer.Interval, e.Peer.Priority)
	case e.Kind == ForeignCluster:
		return fmt.Sprintf("%s: %v has %v", s, e.Peer.Addr, e.Peer.Addresses)
	case e.Peer.Addr.IsValid():
		return fmt.Sprintf("%s: %v, priority %d", s, e.Peer.Addr, e.Peer.Priority)
	}
	return s
}

// EventKind is what happened.
type EventKind uint8

// The kinds of events.
const (
	// Transition: the state has changed From, To, for a Reason.
	Transition EventKind = iota + 1
	// TwoActive: this router is Active and hears another one, Peer, that is too, even
	// if its advertisements are not accepted because it is configured otherwise. It
	// comes once for each such peer, until Healed. A router that gives way at once, or
	// makes this one give way, is none.
	TwoActive
	// Healed: the other Active router has been silent for an Active_Down_Interval or
	// one of the two has given way. The one that stays Active announces again.
	Healed
	// NoPeerHeard: Active for a long time (ten Active_Down_Intervals) without ever
	// having heard another router. With a living peer it means that protocol 112 is
	// filtered or multicast does not pass. It comes once.
	NoPeerHeard
	// ForeignCluster: Peer advertises quite other addresses with the same VRID: it
	// belongs to another virtual router. Choose another VRID.
	ForeignCluster
	// PeerDiffers: Peer belongs to this virtual router but is configured otherwise,
	// see Mismatch. It comes once for each peer and kind of difference.
	PeerDiffers
	// PrimaryPathLost: the Active router is heard by the second path only.
	PrimaryPathLost
	// PrimaryPathBack: it is heard by the interface again.
	PrimaryPathBack
	// Vetoed: it would have become Active, and Config.Witness said no with Err.
	Vetoed
	// BinderFailed: Acquire, Release or Announce returned Err.
	BinderFailed
	// LateTimer: the program or the machine was so busy that a timer came Late by more
	// than half an interval. At most one in 10 s; Stats counts all.
	LateTimer
)

var eventNames = [...]string{
	"none", "transition", "two active", "healed", "no peer heard", "foreign cluster", "peer differs",
	"primary path lost", "primary path back", "vetoed", "binder failed", "late timer",
}

// String is the kind in words.
func (k EventKind) String() string { return name(eventNames[:], "event", k) }

// MarshalText is String.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Mismatch is what two routers of one virtual router disagree about; a set.
type Mismatch uint8

// What they may disagree about.
const (
	AddressMismatch  Mismatch = 1 << iota // the list of virtual addresses
	IntervalMismatch                      // the advertisement interval
	VersionMismatch                       // the version of VRRP
	AuthMismatch                          // authentication: its kind, password, key or clock
	EqualPriority                         // who comes first: both have the same priority, so that addresses decide
)

var mismatchNames = [...]string{"addresses", "interval", "version", "authentication", "equal priority"}

// String lists what it has, such as "addresses, interval".
func (m Mismatch) String() string {
	var words []string
	for bit, word := range mismatchNames {
		if m&(1<<bit) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, ", ")
}

// MarshalText is String.
func (m Mismatch) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// A Peer is another router, as its last advertisement shows it.
type Peer struct {
	Addr      netip.Addr // its source address
	Version   Version
	Priority  uint8
	Interval  time.Duration
	Addresses []netip.Addr // the virtual addresses it advertises
}
