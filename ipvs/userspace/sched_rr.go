package userspace

import "github.com/lvskit/lvskit/ipvs"

// beforeFirst is the place before the first destination, where a round begins.
const beforeFirst = -1

// roundRobin is rr (ip_vs_rr.c): the next one after the last choice. The kernel
// keeps its place in the list: it moves with the destination that it is at, and
// to the one before when that is removed.
type roundRobin struct {
	at   int // index of the last choice, or beforeFirst
	last *destination
}

func (r *roundRobin) changed(s *service, op ipvs.ChangeOp, d *destination) {
	if r.at == beforeFirst {
		return
	}
	switch op {
	case ipvs.AddDestination: // in front of all
		r.at++
	case ipvs.RemoveDestination:
		switch {
		case d == r.last:
			r.move(s, r.at-1)
		case r.at >= len(s.dests) || s.dests[r.at] != r.last: // it was before the last choice
			r.at--
		}
	}
}

func (r *roundRobin) move(s *service, to int) {
	r.at, r.last = to, nil
	if to != beforeFirst {
		r.last = s.dests[to]
	}
}

func (r *roundRobin) pick(s *service, _ flow) *destination {
	n := len(s.dests)
	for i, at := 0, r.at; i < n; i++ {
		if at++; at == n {
			at = 0
		}
		if s.dests[at].available() {
			r.move(s, at)
			return r.last
		}
	}
	return nil
}
