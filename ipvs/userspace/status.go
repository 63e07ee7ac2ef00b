package userspace

import (
	"cmp"
	"slices"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// listed are the services in the order in which they were added.
func (e *Engine) listed() []*service {
	list := make([]*service, 0, len(e.services))
	for _, s := range e.services {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *service) int { return cmp.Compare(a.order, b.order) })
	return list
}

// status is a service with its destinations, the newest first.
func (s *service) status(now time.Duration) ipvs.ServiceStatus {
	s.templates.expire(now)
	st := ipvs.ServiceStatus{Service: s.Service, Stats: s.stats.stats(now)}
	if len(s.dests) > 0 {
		st.Destinations = make([]ipvs.DestinationStatus, len(s.dests))
	}
	for i, d := range s.dests {
		st.Destinations[i] = ipvs.DestinationStatus{
			Destination: d.Destination,
			Active:      d.active, Inactive: d.inactive, Persistent: d.persistent,
			Stats: d.stats.stats(now),
		}
	}
	return st
}

// wanted is a service as it would have to be wanted to stay as it is.
func (s *service) wanted() ipvs.Service {
	w := s.Service
	w.Destinations = make([]ipvs.Destination, len(s.dests))
	for i, d := range s.dests {
		w.Destinations[i] = d.Destination
	}
	return w
}
