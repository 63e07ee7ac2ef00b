package userspace

import (
	"context"
	"iter"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// AddService adds a service with its destinations: all of it, or on an error
// nothing. An Engine that forwards opens its listening sockets: the error tells
// if it may not, or if the port is taken.
func (e *Engine) AddService(ctx context.Context, s ipvs.Service) error {
	if err := s.Validate(); err != nil {
		return err
	}
	changes, err := ipvs.Plan(nil, []ipvs.Service{s}, ipvs.Policy{})
	if err != nil {
		return err
	}
	return e.exclusively(ctx, changes[0].Op.String(), object(changes[0]), func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		for i, c := range changes {
			if err := e.run(c); err != nil {
				if i > 0 {
					e.remove(e.services[c.Service.ID])
				}
				return opError(c, err)
			}
		}
		return nil
	})
}

// UpdateService changes a service's scheduler, flags and persistence to those
// of s. Destinations and connections stay as they are. Everything is replaced.
func (e *Engine) UpdateService(ctx context.Context, s ipvs.Service) error {
	s.Destinations = nil
	if err := s.Validate(); err != nil {
		return err
	}
	return e.change(ctx, ipvs.Change{Op: ipvs.UpdateService, Service: s.Normal()})
}

// RemoveService removes a service with its destinations. An Engine that forwards
// cuts its connections.
func (e *Engine) RemoveService(ctx context.Context, id ipvs.ServiceID) error {
	return e.change(ctx, ipvs.Change{Op: ipvs.RemoveService, Service: ipvs.Service{ID: id}})
}

// AddDestination adds a real server to a service. One that was removed not long
// ago, or that has connections of then, has its counters again.
func (e *Engine) AddDestination(ctx context.Context, id ipvs.ServiceID, d ipvs.Destination) error {
	return e.change(ctx, ipvs.Change{Op: ipvs.AddDestination, Service: ipvs.Service{ID: id}, Destination: d})
}

// UpdateDestination changes all but the address of a real server to d.
func (e *Engine) UpdateDestination(ctx context.Context, id ipvs.ServiceID, d ipvs.Destination) error {
	return e.change(ctx, ipvs.Change{Op: ipvs.UpdateDestination, Service: ipvs.Service{ID: id}, Destination: d})
}

// RemoveDestination removes a real server. An Engine that forwards cuts its
// connections, as the kernel does with vs.expire_nodest_conn=1: see ipvs.Drain.
// Those of Engine.Connect stay until they are closed.
func (e *Engine) RemoveDestination(ctx context.Context, id ipvs.ServiceID, addr netip.AddrPort) error {
	return e.change(ctx, ipvs.Change{
		Op: ipvs.RemoveDestination, Service: ipvs.Service{ID: id}, Destination: ipvs.Destination{Addr: addr},
	})
}

// change makes one change that a caller asked for.
func (e *Engine) change(ctx context.Context, c ipvs.Change) error {
	if err := validate(c); err != nil {
		return opError(c, err)
	}
	c.Service.ID = normalID(c.Service.ID)
	normal := c
	normal.Destination = normalDestination(c.Destination)
	return e.exclusively(ctx, c.Op.String(), object(c), func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if err := e.run(normal); err != nil {
			return opError(c, err)
		}
		return nil
	})
}

// Services reads all services with their destinations: the services in the order
// in which they were added, the destinations of each from the newest to the
// oldest, as the kernel has them.
func (e *Engine) Services(ctx context.Context) (list []ipvs.ServiceStatus, err error) {
	err = e.look(ctx, "read services", "", func() error {
		now := e.now()
		list = make([]ipvs.ServiceStatus, 0, len(e.services))
		for _, s := range e.listed() {
			list = append(list, s.status(now))
		}
		return nil
	})
	return list, err
}

// Service reads one service with its destinations.
func (e *Engine) Service(ctx context.Context, id ipvs.ServiceID) (st ipvs.ServiceStatus, err error) {
	err = e.lookAt(ctx, "read service", id, func(s *service) { st = s.status(e.now()) })
	return st, err
}

// Connections reads the connection table: connections of Engine.Connect and those
// that are forwarded, and the templates of persistence. It takes little memory
// and holds nothing up: what comes or goes meanwhile is there or not. An error
// ends the sequence.
func (e *Engine) Connections(ctx context.Context) iter.Seq2[ipvs.Connection, error] {
	return func(yield func(ipvs.Connection, error) bool) { e.list(ctx, yield) }
}

// Zero sets the counters and rates of one service and its destinations to zero.
func (e *Engine) Zero(ctx context.Context, id ipvs.ServiceID) error {
	return e.lookAt(ctx, "zero", id, func(s *service) { s.zero(e.now()) })
}

// ZeroAll sets all counters and rates to zero.
func (e *Engine) ZeroAll(ctx context.Context) error {
	return e.look(ctx, "zero all", "", func() error {
		now := e.now()
		for _, s := range e.services {
			s.zero(now)
		}
		return nil
	})
}

func (s *service) zero(now time.Duration) {
	s.stats.zero(now)
	for _, d := range s.dests {
		d.stats.zero(now)
	}
}

// Flush removes every service.
func (e *Engine) Flush(ctx context.Context) error {
	const op = "flush"
	return e.exclusively(ctx, op, "", func() error {
		return e.look(ctx, op, "", func() error {
			for _, s := range e.listed() {
				e.remove(s)
			}
			return nil
		})
	})
}

// exclusively calls fn while nobody else changes the table. Others can read it,
// and connections come and go: fn locks mu for what it does.
func (e *Engine) exclusively(ctx context.Context, op, object string, fn func() error) error {
	err := ctx.Err()
	if err == nil {
		select {
		case e.changing <- struct{}{}:
			defer func() { <-e.changing }()
			return fn()
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return &ipvs.OpError{Op: op, Object: object, Err: err}
}

// look calls fn with mu held.
func (e *Engine) look(ctx context.Context, op, object string, fn func() error) error {
	err := ctx.Err()
	if err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if err = net.ErrClosed; !e.closed {
			err = fn()
		}
	}
	if err != nil {
		return &ipvs.OpError{Op: op, Object: object, Err: err}
	}
	return nil
}

// lookAt calls fn with mu held and the service of that name.
func (e *Engine) lookAt(ctx context.Context, op string, id ipvs.ServiceID, fn func(*service)) error {
	if err := validate(ipvs.Change{Service: ipvs.Service{ID: id}}); err != nil {
		return &ipvs.OpError{Op: op, Object: id.String(), Err: err}
	}
	id = normalID(id)
	return e.look(ctx, op, id.String(), func() error {
		s := e.services[id]
		if s == nil {
			return errNoService
		}
		fn(s)
		return nil
	})
}

// run makes one change, in normal form, with the answers of the kernel. It is
// called with mu held.
func (e *Engine) run(c ipvs.Change) error {
	s := e.services[c.Service.ID]
	switch {
	case e.closed:
		return net.ErrClosed
	case c.Op == ipvs.AddService && s != nil:
		return errService
	case c.Op != ipvs.AddService && s == nil:
		return errNoService
	}
	if err := e.refuse(c); err != nil {
		return err
	}
	switch c.Op {
	case ipvs.AddService:
		return e.add(c.Service)
	case ipvs.UpdateService:
		return s.update(c.Service)
	case ipvs.RemoveService:
		e.remove(s)
		return nil
	}
	return e.runDestination(s, c)
}

func (e *Engine) runDestination(s *service, c ipvs.Change) error {
	d := s.find(c.Destination.Addr)
	switch {
	case c.Op == ipvs.AddDestination && d != nil:
		return errDestination
	case c.Op == ipvs.AddDestination:
		d = e.recall(s, c.Destination)
		s.dests = slices.Insert(s.dests, 0, d)
	case d == nil:
		return errNoDestination
	case c.Op == ipvs.UpdateDestination:
		d.set(c.Destination)
	default:
		s.dests = slices.DeleteFunc(s.dests, func(other *destination) bool { return other == d })
		e.discard(d)
	}
	s.changed(c.Op, d)
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
	s.stats.begin(e.now())
	e.added++
	s.order = e.added
	e.services[s.ID] = s
	return nil
}

// set takes all but the ID: it is the same, and workers read it at any time.
func (s *service) set(wanted ipvs.Service) {
	s.Scheduler, s.Flags, s.Persistence = wanted.Scheduler, wanted.Flags, wanted.Persistence
}

func (s *service) update(wanted ipvs.Service) error {
	before := s.Service
	s.set(wanted)
	if before.Scheduler == wanted.Scheduler {
		return nil
	}
	sched, err := newScheduler(s)
	if err != nil {
		s.set(before)
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
	s.sched, s.templates = choice(noChoice), templates{} // who comes by a socket that is still open gets nobody
	for _, d := range s.dests {
		d.persistent = 0
		e.discard(d)
	}
}
