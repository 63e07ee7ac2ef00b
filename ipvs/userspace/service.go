package userspace

import (
	"net/netip"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// service is a virtual service of the table. Engine.mu guards it, but for what
// is atomic.
type service struct {
	ipvs.Service                // normal form; Destinations is nil
	order        uint64         // of its addition among the others
	dests        []*destination // the newest first, as the kernel has them
	sched        scheduler
	templates    templates // of persistence
	stats        counters
	source       Source
	front        front // the sockets; nil in a table alone
}

// destination is a real server of a service, or one that was removed and is in
// the trash.
type destination struct {
	ipvs.Destination
	service                      *service // that it is of, or was
	active, inactive, persistent int
	overload                     bool // at the upper threshold, and not below the lower one since
	lastWeight                   int  // what the weight was before 0, 0 if it was never more
	removed                      bool
	idle                         time.Duration // since when, in the trash, nothing has used it
	stats                        counters
	conns                        connectionList
}

// find is the destination of that address, nil if there is none.
func (s *service) find(addr netip.AddrPort) *destination {
	for _, d := range s.dests {
		if d.Addr == addr {
			return d
		}
	}
	return nil
}

// available tells whether new connections may go there.
func (d *destination) available() bool { return d.Weight > 0 && !d.overload }

// flow is what a scheduler may know of a connection.
type flow struct {
	client, virtual netip.AddrPort
	callID          string        // of the first packet, for the persistence engine sip
	now             time.Duration // since the epoch of the Engine
}
