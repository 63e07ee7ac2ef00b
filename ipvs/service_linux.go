package ipvs

import (
	"context"
	"net/netip"
	"time"
)

// AddService adds a service with its destinations: all of it, or on an error
// nothing.
func (c *Client) AddService(ctx context.Context, s Service) error {
	if err := s.Validate(); err != nil {
		return err
	}
	changes, err := Plan(nil, []Service{s}, Policy{})
	if err != nil {
		return err
	}
	// The service goes alone: if it exists already, nothing may be done to it.
	if err := c.change(ctx, changes[0]); err != nil {
		return err
	}
	_, failed, err := c.execute(ctx, changes[1:])
	if err == nil && len(failed) == 0 {
		return nil
	}
	if err == nil {
		err = failed.err()
	}
	undo := Change{Op: RemoveService, Service: Service{ID: changes[0].Service.ID}}
	if undoErr := c.change(context.WithoutCancel(ctx), undo); undoErr != nil {
		c.log.Warn("cannot take back a service", "service", s.ID.String(), "err", undoErr)
	}
	return err
}

// UpdateService changes a service's scheduler, flags and persistence to those
// of s. Destinations stay as they are. Everything is replaced: to keep a
// persistence engine, give it.
func (c *Client) UpdateService(ctx context.Context, s Service) error {
	s.Destinations = nil
	if err := s.Validate(); err != nil {
		return err
	}
	return c.change(ctx, Change{Op: UpdateService, Service: s.Normal()})
}

// RemoveService removes a service with its destinations.
func (c *Client) RemoveService(ctx context.Context, id ServiceID) error {
	return c.change(ctx, Change{Op: RemoveService, Service: Service{ID: id}})
}

// AddDestination adds a real server to a service.
func (c *Client) AddDestination(ctx context.Context, id ServiceID, d Destination) error {
	return c.change(ctx, Change{Op: AddDestination, Service: Service{ID: id}, Destination: d})
}

// UpdateDestination changes all but the address of a real server to d.
func (c *Client) UpdateDestination(ctx context.Context, id ServiceID, d Destination) error {
	return c.change(ctx, Change{Op: UpdateDestination, Service: Service{ID: id}, Destination: d})
}

// RemoveDestination removes a real server. Its connections go when their next
// packet comes (vs.expire_nodest_conn=1) or time out.
func (c *Client) RemoveDestination(ctx context.Context, id ServiceID, addr netip.AddrPort) error {
	return c.change(ctx,
		Change{Op: RemoveDestination, Service: Service{ID: id}, Destination: Destination{Addr: addr}})
}

// change makes one change.
func (c *Client) change(ctx context.Context, ch Change) error {
	op := ch.Op.String()
	if err := ch.validate(); err != nil {
		return &OpError{Op: op, Object: ch.object(), Err: err}
	}
	ch.Service.ID = ch.Service.ID.normal()
	err := c.exchange(ctx, func(conn *conn) error {
		conn.enc.b = conn.enc.b[:0]
		conn.seq++
		mark, cmd := conn.enc.change(conn.family, flagRequest|flagAck, conn.seq, &ch)
		_, err := conn.execute(ctx, cmd, mark)
		return err
	})
	if err == nil {
		return nil
	}
	return opError(op, ch.object(), err, &ch.Service)
}

// validate checks what a change names, and what it sets.
func (c *Change) validate() error {
	if err := c.Service.ID.validate(); err != nil {
		return err
	}
	switch c.Op {
	case AddDestination, UpdateDestination:
		return c.Destination.validate(c.Service.ID)
	case RemoveDestination:
		if !c.Destination.Addr.IsValid() {
			return invalidf("a destination needs an address")
		}
	}
	return nil
}

// object is what a change is about.
func (c *Change) object() string {
	switch c.Op {
	case AddDestination, UpdateDestination, RemoveDestination:
		return destinationObject(c.Service.ID, c.Destination.Addr)
	}
	return c.Service.ID.String()
}

// Zero sets the counters of one service and its destinations to zero.
func (c *Client) Zero(ctx context.Context, id ServiceID) error {
	const op = "zero"
	if err := id.validate(); err != nil {
		return &OpError{Op: op, Object: id.String(), Err: err}
	}
	id = id.normal()
	err := c.request(ctx, cmdZero, flagAck, func(e *encoder) { e.serviceID(id) }, nil)
	return opError(op, id.String(), err, nil)
}

// ZeroAll sets all counters to zero.
func (c *Client) ZeroAll(ctx context.Context) error {
	return opError("zero all", "", c.request(ctx, cmdZero, flagAck, nil, nil), nil)
}

// Flush removes every service, foreign ones too. To replace a table use Apply:
// for two minutes after a flush the kernel is slow to add destinations, as it
// looks for each one among those that were removed.
func (c *Client) Flush(ctx context.Context) error {
	return opError("flush", "", c.request(ctx, cmdFlush, flagAck, nil, nil), nil)
}

// Timeouts reads the timeouts of connections.
func (c *Client) Timeouts(ctx context.Context) (t Timeouts, err error) {
	err = c.request(ctx, cmdGetConfig, 0, nil, func(b []byte) (err error) {
		t, err = decodeTimeouts(b)
		return err
	})
	return t, opError("read timeouts", "", err, nil)
}

// maxIdle is what the kernel takes, INT_MAX/HZ seconds, with the highest HZ.
const maxIdle = 1<<31/1000*time.Second - time.Second

// SetTimeouts sets the timeouts that are not zero, for connections to come and
// for those that get another packet.
func (c *Client) SetTimeouts(ctx context.Context, t Timeouts) error {
	const op = "set timeouts"
	for _, d := range []time.Duration{t.TCP, t.TCPFin, t.UDP} {
		if d < 0 || d > maxIdle || d%time.Second != 0 {
			return &OpError{Op: op, Err: invalidf("timeout %v is not within 1s to %v in whole seconds", d, maxIdle)}
		}
	}
	return opError(op, "", c.request(ctx, cmdSetConfig, flagAck, func(e *encoder) { e.timeouts(t) }, nil), nil)
}

// Info reads what the kernel says of itself.
func (c *Client) Info(ctx context.Context) (i Info, err error) {
	err = c.request(ctx, cmdGetInfo, 0, nil, func(b []byte) (err error) {
		i, err = decodeInfo(b)
		return err
	})
	return i, opError("read info", "", err, nil)
}
