package userspace

import (
	"fmt"

	"github.com/lvskit/lvskit/ipvs"
)

// scheduler chooses among the destinations of one service, as the kernel's
// module of that name does (net/netfilter/ipvs/ip_vs_NAME.c).
type scheduler interface {
	// pick is the destination for a new connection, nil if none may take it.
	pick(s *service, f flow) *destination
	// changed is called after a destination was added, updated or removed.
	changed(s *service, op ipvs.ChangeOp, d *destination)
}

// newScheduler makes the scheduler that a service names, with the destinations
// that it has.
func newScheduler(s *service) (scheduler, error) {
	switch s.Scheduler {
	case ipvs.RR:
		return &roundRobin{}, nil
	}
	return nil, fmt.Errorf("%w: %q", ipvs.ErrNoScheduler, s.Scheduler)
}

type roundRobin struct{ turn int }

func (r *roundRobin) changed(*service, ipvs.ChangeOp, *destination) {}

func (r *roundRobin) pick(s *service, _ flow) *destination {
	for range s.dests {
		r.turn++
		if d := s.dests[r.turn%len(s.dests)]; d.available() {
			return d
		}
	}
	return nil
}
