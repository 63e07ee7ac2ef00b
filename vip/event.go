package vip

import (
	"fmt"
	"net"
	"strconv"
)

// LossPolicy says what Run does when something that is held goes missing: an
// address deleted by a network daemon, a setting written by another program.
type LossPolicy uint8

const (
	// PutBack puts it back: at once, and when it goes again within a minute after
	// 1 s, then 2 s, doubling up to 30 s, so that two programs do not fight at full
	// speed. An interface that comes back gets back what it had.
	PutBack LossPolicy = iota
	// Report tells it by an Event and gives way.
	Report
)

// String is the name of the policy.
func (p LossPolicy) String() string {
	switch p {
	case PutBack:
		return "put back"
	case Report:
		return "report"
	}
	return "policy " + strconv.Itoa(int(p))
}

// EventKind is what happened.
type EventKind uint8

// The kinds of events.
const (
	// Lost: something held is not there any more. Err, if set, says why it cannot
	// be put back now: fs.ErrNotExist (the interface has gone) or ErrForeign
	// (somebody else has put the same IP there).
	Lost EventKind = iota + 1
	// Back: it is there again, by us or by somebody.
	Back
	// Failed: putting it back failed with Err; it will be tried again.
	Failed
	// Conflict: another host, with the MAC of the Event, claims an address that is
	// held and has been announced. Err matches ErrConflict. It is told once in 10 s
	// for each address and MAC. When VRRP hands an address over, the new Active's
	// announcement may be told before the release.
	Conflict
)

// String is the event in a word.
func (k EventKind) String() string {
	switch k {
	case Lost:
		return "lost"
	case Back:
		return "back"
	case Failed:
		return "failed"
	case Conflict:
		return "conflict"
	}
	return "event " + strconv.Itoa(int(k))
}

// An Event tells what happened to something that a Manager holds.
type Event struct {
	Kind    EventKind
	Object  string  // "192.168.247.188/32 dev eth0", "device lvs0", "net/ipv4/conf/eth0/arp_ignore"
	Address Address // the address, if it is one
	Err     error
	MAC     net.HardwareAddr // of a Conflict
}

// String is the event as a line of a log.
func (e Event) String() string {
	if e.Err != nil {
		return fmt.Sprintf("%v %s: %v", e.Kind, e.Object, e.Err)
	}
	return fmt.Sprintf("%v %s", e.Kind, e.Object)
}

// Status is what a Manager holds and has seen. The counters start at New.
type Status struct {
	Holding   bool        // between the Manager's Acquire or Apply, and Release
	State     State       // what it holds, or will by Acquire
	Sets      []SetStatus // by name
	Missing   []string    // objects that Run found missing, sorted
	Lost      uint64      // times that something held was found missing
	PutBack   uint64      // changes made to put things back
	Failed    uint64      // attempts to put things back that failed
	Conflicts uint64      // times that another host claimed an address
	Overruns  uint64      // times that the kernel had more notices than room; all was read anew
	// Announced are the frames sent to tell neighbours where addresses are,
	// Unannounced those that could not be sent.
	Announced, Unannounced uint64
}

// SetStatus is the Status of a Set.
type SetStatus struct {
	Name    string
	Holding bool  // between its Acquire and Release
	State   State // what it holds, or will by Acquire
}
