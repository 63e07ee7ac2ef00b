package userspace

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// defaultTimeouts are the kernel's (ip_vs_proto_tcp.c, ip_vs_proto_udp.c).
var defaultTimeouts = ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}

// run makes one change, in normal form, with the answers of the kernel.
func (e *Engine) run(c ipvs.Change) error {
	s := e.services[c.Service.ID]
	switch {
	case c.Op == ipvs.AddService && s != nil:
		return fs.ErrExist
	case c.Op == ipvs.AddService:
		return e.add(c.Service)
	case s == nil:
		return fs.ErrNotExist
	}
	d := s.find(c.Destination.Addr)
	switch c.Op {
	case ipvs.UpdateService:
		return e.update(s, c.Service)
	case ipvs.RemoveService:
		e.remove(s)
		return nil
	case ipvs.AddDestination:
		if d != nil {
			return fs.ErrExist
		}
		d = &destination{Destination: c.Destination}
		s.dests = slices.Insert(s.dests, 0, d)
	default:
		if d == nil {
			return fs.ErrNotExist
		}
		if c.Op == ipvs.UpdateDestination {
			d.Destination = c.Destination
			break
		}
		s.dests = slices.DeleteFunc(s.dests, func(other *destination) bool { return other == d })
		d.remove()
	}
	s.sched.changed(s, c.Op, d)
	return nil
}

func (e *Engine) add(wanted ipvs.Service) error {
	s := &service{Service: wanted}
	var err error
	if s.sched, err = newScheduler(s); err != nil {
		return err
	}
	if e.cfg.Source != nil {
		s.source = e.cfg.Source(s.ID)
	}
	if e.plane != nil {
		if s.front, err = e.plane.listen(s); err != nil {
			return err
		}
	}
	e.services[s.ID] = s
	return nil
}

func (e *Engine) update(s *service, wanted ipvs.Service) error {
	before := s.Service
	s.Service = wanted
	if before.Scheduler == wanted.Scheduler {
		return nil
	}
	sched, err := newScheduler(s)
	if err != nil {
		s.Service = before
		return err
	}
	s.sched = sched
	return nil
}

func (e *Engine) remove(s *service) {
	delete(e.services, s.ID)
	if s.front != nil {
		s.front.close()
	}
	for _, d := range s.dests {
		d.remove()
	}
}

// remove cuts the connections of a destination.
func (d *destination) remove() {
	d.removed = true
	for c := d.conns.head; c != nil; c = c.next {
		if c.owner != nil {
			c.owner.cut()
		}
	}
}

// do makes one change that a caller asked for.
func (e *Engine) do(ctx context.Context, c ipvs.Change) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := ctx.Err()
	if e.closed {
		err = net.ErrClosed
	}
	if err == nil {
		err = e.run(c)
	}
	if err != nil {
		return &ipvs.OpError{Op: c.Op.String(), Object: c.Service.ID.String(), Err: err}
	}
	return nil
}

// AddService adds a service with its destinations: all of it, or on an error
// nothing.
func (e *Engine) AddService(ctx context.Context, s ipvs.Service) error {
	changes, err := ipvs.Plan(nil, []ipvs.Service{s}, ipvs.Policy{})
	if err != nil {
		return err
	}
	for _, c := range changes {
		if err := e.do(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) UpdateService(ctx context.Context, s ipvs.Service) error {
	s.Destinations = nil
	return e.do(ctx, ipvs.Change{Op: ipvs.UpdateService, Service: s})
}

func (e *Engine) RemoveService(ctx context.Context, id ipvs.ServiceID) error {
	return e.do(ctx, ipvs.Change{Op: ipvs.RemoveService, Service: ipvs.Service{ID: id}})
}

func (e *Engine) AddDestination(ctx context.Context, id ipvs.ServiceID, d ipvs.Destination) error {
	return e.do(ctx, ipvs.Change{Op: ipvs.AddDestination, Service: ipvs.Service{ID: id}, Destination: d})
}

func (e *Engine) UpdateDestination(ctx context.Context, id ipvs.ServiceID, d ipvs.Destination) error {
	return e.do(ctx, ipvs.Change{Op: ipvs.UpdateDestination, Service: ipvs.Service{ID: id}, Destination: d})
}

func (e *Engine) RemoveDestination(ctx context.Context, id ipvs.ServiceID, addr netip.AddrPort) error {
	return e.do(ctx, ipvs.Change{Op: ipvs.RemoveDestination, Service: ipvs.Service{ID: id}, Destination: ipvs.Destination{Addr: addr}})
}

func (e *Engine) Services(ctx context.Context) ([]ipvs.ServiceStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]ipvs.ServiceStatus, 0, len(e.services))
	for _, s := range e.services {
		list = append(list, s.status())
	}
	return list, nil
}

func (s *service) status() ipvs.ServiceStatus {
	st := ipvs.ServiceStatus{Service: s.Service}
	for _, d := range s.dests {
		st.Destinations = append(st.Destinations, ipvs.DestinationStatus{Destination: d.Destination, Active: d.active, Inactive: d.inactive, Persistent: d.persistent})
	}
	return st
}

func (e *Engine) Service(ctx context.Context, id ipvs.ServiceID) (ipvs.ServiceStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.services[id]
	if s == nil {
		return ipvs.ServiceStatus{}, &ipvs.OpError{Op: "read service", Object: id.String(), Err: fs.ErrNotExist}
	}
	return s.status(), nil
}

func (e *Engine) Plan(ctx context.Context, want []ipvs.Service, policy ipvs.Policy) ([]ipvs.Change, error) {
	have, err := e.Services(ctx)
	if err != nil {
		return nil, err
	}
	services := make([]ipvs.Service, len(have))
	for i, s := range have {
		services[i] = s.Service
		for _, d := range s.Destinations {
			services[i].Destinations = append(services[i].Destinations, d.Destination)
		}
	}
	return ipvs.Plan(services, want, policy)
}

func (e *Engine) Apply(ctx context.Context, want []ipvs.Service, policy ipvs.Policy) (made []ipvs.Change, err error) {
	changes, err := e.Plan(ctx, want, policy)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, c := range changes {
		if err := e.do(ctx, c); err != nil {
			errs = append(errs, err)
			continue
		}
		made = append(made, c)
	}
	return made, errors.Join(errs...)
}

func (e *Engine) Connections(ctx context.Context) iter.Seq2[ipvs.Connection, error] {
	return func(func(ipvs.Connection, error) bool) {}
}
func (e *Engine) Zero(ctx context.Context, id ipvs.ServiceID) error      { return nil }
func (e *Engine) ZeroAll(ctx context.Context) error                      { return nil }
func (e *Engine) Flush(ctx context.Context) error                        { return nil }
func (e *Engine) Timeouts(ctx context.Context) (ipvs.Timeouts, error)    { return e.timeouts, nil }
func (e *Engine) SetTimeouts(ctx context.Context, t ipvs.Timeouts) error { return nil }
