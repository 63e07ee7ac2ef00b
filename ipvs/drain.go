package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"
)

// ConnectionKinds is a set of the kinds of connections that a destination
// counts.
type ConnectionKinds uint8

const (
	// ActiveConnections are TCP and SCTP connections that open or are established.
	ActiveConnections ConnectionKinds = 1 << iota
	// InactiveConnections are all others: TCP connections that close,
	// and every UDP connection.
	InactiveConnections
	// PersistentConnections are the persistence templates: clients that are
	// remembered, and go to their server even if its weight is zero.
	PersistentConnections
)

// DrainConfig says what Drain waits for. The zero value waits, without a bound
// of its own, for active connections and for persistence.
type DrainConfig struct {
	// Timeout is how long to wait before the real server is removed with the
	// connections it has then. Zero: as long as the context lives, which with
	// persistence can be for ever.
	Timeout time.Duration

	// Interval is the time from one look at the table to the next. Zero: 1 s.
	Interval time.Duration

	// Wait is which connections are waited for. Zero: ActiveConnections and
	// PersistentConnections, and InactiveConnections for a service of UDP,
	// which has no active ones.
	Wait ConnectionKinds
}

// Drained is what became of a real server that was drained.
type Drained struct {
	// Removed tells that Drain removed it. It is false for one that somebody
	// else removed meanwhile.
	Removed bool
	// Active, Inactive and Persistent are what it had at the last look: if
	// Removed, the connections that were cut and the clients that were sent to
	// another server.
	Active, Inactive, Persistent int
}

// ErrNotDraining says that somebody gave a real server weight while it was
// being drained.
var ErrNotDraining = errors.New("its weight was set while it was being drained: let one program decide, or use Policy.KeepWeights")

// Drain takes a real server out of a service without cutting its connections:
// it sets its weight to zero, so that new connections go elsewhere, waits for
// those it has, and removes it: when two looks in a row found nothing to wait
// for (to kernels before 4.8 a connection that was just being opened at the first is
// inactive there, and active at the second), or when the timeout is over.
//
// Persistence works against draining: a remembered client is sent to its server
// whatever the weight, and each connection renews the memory. The kernel forgets
// such clients when they return if the setting net.ipv4.vs.expire_quiescent_template
// is 1; without it, set a Timeout, or leave PersistentConnections out of Wait and let
// them move to another server.
//
// When ctx ends first, Drain returns its error and leaves the real server as it
// is, at weight zero: a program that stops does not bring back a server that was
// meant to go. A later Drain carries on; UpdateDestination with a weight takes
// it back. The same holds for an error of the table.
//
// A destination that is not in the table at the start is an error that matches
// fs.ErrNotExist; one that vanishes later is drained, and no error. If its weight is
// set by somebody else, Drain stops with ErrNotDraining. An Apply that still
// wants the destination is such a somebody: want it with weight 0, or use
// Policy.KeepWeights, and no more when Drain has returned.
func Drain(ctx context.Context, t Table, id ServiceID, addr netip.AddrPort, cfg DrainConfig) (Drained, error) {
	d := drain{table: t, id: id.normal(), addr: unmap(addr), cfg: cfg}
	done, err := d.run(ctx)
	if err != nil {
		return done, &OpError{Op: "drain", Object: destinationObject(d.id, d.addr), Err: err}
	}
	return done, nil
}

// drain is one run of Drain.
type drain struct {
	table Table
	id    ServiceID
	addr  netip.AddrPort
	cfg   DrainConfig
}

func (d *drain) run(ctx context.Context) (Drained, error) {
	if err := d.configure(); err != nil {
		return Drained{}, err
	}
	st, err := d.look(ctx)
	if err != nil {
		return Drained{}, err
	}
	if st.Weight != 0 {
		quiet := st.Destination
		quiet.Weight = 0
		if err := d.table.UpdateDestination(ctx, d.id, quiet); err != nil {
			return gone(st, err)
		}
	}
	return d.wait(ctx, st)
}

// configure checks the configuration and fills in its defaults.
func (d *drain) configure() error {
	if err := d.id.validate(); err != nil {
		return err
	}
	if d.cfg.Timeout < 0 || d.cfg.Interval < 0 {
		return invalid("negative Timeout or Interval: use a positive one, or zero for the default")
	}
	if d.cfg.Interval == 0 {
		d.cfg.Interval = time.Second
	}
	if d.cfg.Wait&^(ActiveConnections|InactiveConnections|PersistentConnections) != 0 {
		return invalidf("unknown kinds of connections in Wait, %#x", uint8(d.cfg.Wait))
	}
	if d.cfg.Wait == 0 {
		d.cfg.Wait = ActiveConnections | PersistentConnections
		if d.id.Protocol == UDP {
			d.cfg.Wait |= InactiveConnections
		}
	}
	return nil
}

// wait looks at the destination until it may be removed, and removes it.
func (d *drain) wait(ctx context.Context, last DestinationStatus) (Drained, error) {
	var over <-chan time.Time // never, without a timeout
	if d.cfg.Timeout > 0 {
		timeout := time.NewTimer(d.cfg.Timeout)
		defer timeout.Stop()
		over = timeout.C
	}
	tick := time.NewTicker(d.cfg.Interval)
	defer tick.Stop()
	idle, expired := false, false
	for {
		select {
		case <-ctx.Done():
			return drained(last), ctx.Err()
		case <-over:
			expired = true
		case <-tick.C:
		}
		st, err := d.look(ctx)
		if err != nil {
			return gone(last, err)
		}
		last = st
		if st.Weight != 0 {
			return drained(st), fmt.Errorf("weight %d: %w", st.Weight, ErrNotDraining)
		}
		was := idle
		idle = d.waiting(st) == 0
		if expired || idle && was {
			return d.remove(ctx, st)
		}
	}
}

func (d *drain) remove(ctx context.Context, last DestinationStatus) (Drained, error) {
	if err := d.table.RemoveDestination(ctx, d.id, d.addr); err != nil {
		return gone(last, err)
	}
	done := drained(last)
	done.Removed = true
	return done, nil
}

// look reads the destination.
func (d *drain) look(ctx context.Context) (DestinationStatus, error) {
	s, err := d.table.Service(ctx, d.id)
	if err != nil {
		return DestinationStatus{}, err
	}
	for _, st := range s.Destinations {
		if unmap(st.Addr) == d.addr {
			return st, nil
		}
	}
	return DestinationStatus{}, fmt.Errorf("the service has no such real server: %w", fs.ErrNotExist)
}

// waiting is the number of connections that are waited for.
func (d *drain) waiting(st DestinationStatus) int {
	n := 0
	if d.cfg.Wait&ActiveConnections != 0 {
		n += st.Active
	}
	if d.cfg.Wait&InactiveConnections != 0 {
		n += st.Inactive
	}
	if d.cfg.Wait&PersistentConnections != 0 {
		n += st.Persistent
	}
	return n
}

func drained(st DestinationStatus) Drained {
	return Drained{Active: st.Active, Inactive: st.Inactive, Persistent: st.Persistent}
}

// gone is the result of an error: none if the destination has vanished.
func gone(last DestinationStatus, err error) (Drained, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return drained(last), nil
	}
	return drained(last), err
}
