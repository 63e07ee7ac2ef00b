package director

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// drainKey names a real server that has left the configuration.
type drainKey struct {
	service ipvs.ServiceID
	real    netip.AddrPort
}

// A drain is such a real server while its connections end. The table goes on
// having it, with weight 0.
type drain struct {
	service ipvs.Service
	real    ipvs.Destination
	cancel  context.CancelFunc
	ended   chan struct{}
}

// leave drains what the table has of ours and the configuration has not: what was
// taken out of the file, be it before this program was killed and started again.
func (d *director) leave(ctx context.Context, have []ipvs.ServiceStatus, before config) {
	policy := d.table.policy()
	for key := range d.draining {
		if d.config.has(key) { // it has come back
			d.endDrain(key)
		}
	}
	for _, s := range have {
		if s.ID.FWMark != 0 || !policy.Owns(s.ID) {
			continue
		}
		timeout := drainTime
		for _, cfg := range []config{before, d.config} {
			if of := cfg.find(s.ID); of != nil {
				timeout = of.drain
			}
		}
		for _, real := range s.Destinations {
			key := drainKey{s.ID, real.Addr}
			if d.config.has(key) || d.draining[key] != nil || timeout == 0 {
				continue
			}
			d.drain(ctx, key, s.Service, real.Destination, timeout)
		}
	}
}

// drain lets a real server finish its connections, and tells serve when it has.
func (d *director) drain(ctx context.Context, key drainKey, s ipvs.Service, real ipvs.Destination, timeout time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	real.Weight = 0
	one := &drain{service: s, real: real, cancel: cancel, ended: make(chan struct{})}
	d.draining[key] = one
	fmt.Fprintf(d.out, "drain %s %s\n", name(key.service), key.real)
	go func() { // endDrain waits for it
		defer close(one.ended)
		left, err := ipvs.Drain(ctx, d.table, key.service, key.real, ipvs.DrainConfig{Timeout: timeout})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			d.complain(err)
		default:
			fmt.Fprintf(d.out, "drained %s %s: %d connections left\n", name(key.service), key.real, left.Active)
		}
		select {
		case d.drained <- key:
		case <-ctx.Done():
		}
	}()
}

// endDrain forgets a real server that has been drained, or need not be any more.
func (d *director) endDrain(key drainKey) {
	if one := d.draining[key]; one != nil {
		one.cancel()
		<-one.ended
		delete(d.draining, key)
	}
}

// withDraining adds the real servers that are being drained.
func (d *director) withDraining(want []ipvs.Service) []ipvs.Service {
	for key, one := range d.draining {
		i := slices.IndexFunc(want, func(s ipvs.Service) bool { return s.ID == key.service })
		if i < 0 {
			one.service.Destinations = nil
			want, i = append(want, one.service), len(want)
		}
		want[i].Destinations = append(want[i].Destinations, one.real)
	}
	return want
}

// find is the service of this ID, or nil.
func (c config) find(id ipvs.ServiceID) *service {
	for i := range c.services {
		if c.services[i].ID == id {
			return &c.services[i]
		}
	}
	return nil
}

// has tells whether a real server, or sorry server, is in the configuration.
func (c config) has(key drainKey) bool {
	s := c.find(key.service)
	return s != nil && (slices.ContainsFunc(s.Destinations, func(d ipvs.Destination) bool { return d.Addr == key.real }) ||
		s.sorry != nil && s.sorry.Addr == key.real)
}
