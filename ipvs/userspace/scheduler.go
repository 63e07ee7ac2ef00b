package userspace

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lvskit/lvskit/ipvs"
)

// scheduler chooses among the destinations of one service, as the kernel's
// module of that name does (net/netfilter/ipvs/ip_vs_NAME.c): the same sequence
// of changes and connections has the same choices.
type scheduler interface {
	// pick is the destination for a new connection, nil if none may take it.
	pick(s *service, f flow) *destination
	// changed is called after a destination was added, updated or removed:
	// s.dests is as it is from then on.
	changed(s *service, op ipvs.ChangeOp, d *destination)
}

// schedulers makes each kind, with the destinations that the service has.
var schedulers = map[ipvs.Scheduler]func(*service) scheduler{
	ipvs.RR:          func(*service) scheduler { return &roundRobin{at: beforeFirst} },
	ipvs.WRR:         func(s *service) scheduler { return newWeightedRoundRobin(s) },
	ipvs.LC:          func(*service) scheduler { return choice(leastConnections) },
	ipvs.WLC:         func(*service) scheduler { return choice(weightedLeast) },
	ipvs.SED:         func(*service) scheduler { return choice(shortestDelay) },
	ipvs.NQ:          func(*service) scheduler { return choice(neverQueue) },
	ipvs.FO:          func(*service) scheduler { return choice(failover) },
	ipvs.OVF:         func(*service) scheduler { return choice(overflow) },
	ipvs.DH:          func(s *service) scheduler { return newDestinationHash(s) },
	ipvs.SH:          func(s *service) scheduler { return newSourceHash(s) },
	ipvs.MH:          func(*service) scheduler { return &maglev{stale: true} },
	ipvs.LBLC:        func(*service) scheduler { return newLocality() },
	ipvs.LBLCR:       func(*service) scheduler { return newReplicated() },
	ipvs.NoScheduler: func(*service) scheduler { return choice(noChoice) },
}

// newScheduler makes the scheduler that a service names.
func newScheduler(s *service) (scheduler, error) {
	make := schedulers[s.Scheduler]
	if make == nil {
		return nil, unknownScheduler(s.Scheduler)
	}
	if s.Scheduler == ipvs.MH && len(s.dests) > maglevSize {
		return nil, tooManyForMaglev(len(s.dests))
	}
	return make(s), nil
}

// changed tells the scheduler of a change of the destinations, and the templates.
func (s *service) changed(op ipvs.ChangeOp, d *destination) {
	switch {
	case op == ipvs.RemoveDestination:
		s.templates.forget(d)
	case op == ipvs.AddDestination || d.Weight != 0:
		d.lastWeight = d.Weight
	}
	s.sched.changed(s, op, d)
}

// unknownScheduler is the error of a name that no scheduler has. It matches
// ipvs.ErrNoScheduler.
type unknownScheduler ipvs.Scheduler

func (name unknownScheduler) Error() string {
	var known []string
	for _, k := range slices.Sorted(maps.Keys(schedulers)) {
		known = append(known, string(k))
	}
	return fmt.Sprintf("there is no scheduler %q without the kernel: use one of %s", string(name), strings.Join(known, ", "))
}

func (unknownScheduler) Unwrap() error { return ipvs.ErrNoScheduler }

// choice is a scheduler that remembers nothing.
type choice func(s *service, f flow) *destination

func (c choice) pick(s *service, f flow) *destination               { return c(s, f) }
func (choice) changed(s *service, op ipvs.ChangeOp, d *destination) {}

// noChoice is "none".
func noChoice(*service, flow) *destination { return nil }
