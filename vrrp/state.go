package vrrp

import "strconv"

// State is the state of a Router (RFC 9568, section 6.3).
type State uint8

// The states.
const (
	// Initialize: it does not run.
	Initialize State = iota
	// Backup: it listens to the Active router. RFC 3768 and keepalived say BACKUP too.
	Backup
	// Active: it holds the addresses (MASTER in RFC 3768 and keepalived).
	Active
	// Fault: it runs, but cannot take part: its link or source address is gone, a
	// tracker of weight 0 is down, ... (as keepalived; RFC 9568 has no such state).
	Fault
)

var stateNames = [...]string{"initialize", "backup", "active", "fault"}

// String is the state in a word.
func (s State) String() string { return name(stateNames[:], "state", s) }

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reason is why a Router changed its state.
type Reason uint8

// The reasons.
const (
	// ReasonStart: Run began.
	ReasonStart Reason = iota + 1
	// ReasonStop: Run ends.
	ReasonStop
	// ReasonOwner: it starts with priority 255, as the owner of the addresses.
	ReasonOwner
	// ReasonTimeout: no Active router was heard for the Active_Down_Interval.
	ReasonTimeout
	// ReasonPreempt: the Active router has a lower priority and is displaced.
	ReasonPreempt
	// ReasonResigned: the Active router sent priority 0.
	ReasonResigned
	// ReasonHigher: another Active router has a higher priority.
	ReasonHigher
	// ReasonTie: another Active router has the same priority and a greater address.
	ReasonTie
	// ReasonLink: the interface has no carrier or is not up.
	ReasonLink
	// ReasonInterface: there is no such interface.
	ReasonInterface
	// ReasonSource: the interface has no address to send from.
	ReasonSource
	// ReasonTracker: a tracker of weight 0 is down.
	ReasonTracker
	// ReasonDuplicateOwner: another router says it is the owner (priority 255) too.
	ReasonDuplicateOwner
	// ReasonBinder: the Binder cannot hold the addresses.
	ReasonBinder
	// ReasonGroup: another member of its sync group changed.
	ReasonGroup
	// ReasonStarved: it was Active and could not advertise for so long that others
	// must believe it dead; it gives way until it knows better.
	ReasonStarved
	// ReasonRecovered: what had caused Fault is over.
	ReasonRecovered
	// ReasonUpdate: an Update, such as to or from priority 255.
	ReasonUpdate
)

var reasonNames = [...]string{
	"none", "start", "stop", "owner", "timeout", "preempt", "resigned", "higher priority", "tie", "link down",
	"no interface", "no source address", "tracker", "duplicate owner", "binder", "group", "starved", "recovered", "update",
}

// String is the reason in a word or two.
func (r Reason) String() string { return name(reasonNames[:], "reason", r) }

// MarshalText is String.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// name is the word for v, or "kind 7" for a number without one.
func name[T ~uint8](words []string, kind string, v T) string {
	if int(v) < len(words) {
		return words[v]
	}
	return kind + " " + strconv.Itoa(int(v))
}
