package vrrp

import (
	"net/netip"
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

	Peers []Peer // heard lately, at most 16
	Stats Stats
}

// Stats counts since New.
type Stats struct {
	Sent             uint64 // advertisements, one for each destination
	SendErrors       uint64
	SentZero         uint64 // those of priority 0
	Received         uint64 // accepted
	ReceivedZero     uint64
	BySecondPath     uint64 // accepted from the second path
	Dropped          [numDrops]uint64
	WithPseudoHeader uint64 // VRRPv3 over IPv4, by the form of the checksum
	MessageOnly      uint64
	BecameActive     uint64
	BecameBackup     uint64
	BecameFault      uint64
	Announced        uint64 // calls of Binder.Announce
	BinderErrors     uint64

	// Timers that came more than half an interval late, and the latest ever.
	LateTimers uint64
	Latest     time.Duration
	// Times the Router gave way because it had been starved.
	Starved uint64
	// Events that were merged or dropped because OnEvent was slow.
	LostEvents uint64
}
