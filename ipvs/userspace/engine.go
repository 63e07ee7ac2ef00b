package userspace

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// ErrRunning says that the Engine runs already.
var ErrRunning = errors.New("the engine runs already")

// ErrTableOnly says that an Engine of Config.TableOnly has nothing to run.
var ErrTableOnly = errors.New("the engine is a table only: leave Config.TableOnly unset to forward")

// Engine is a table of virtual services that forwards their connections itself.
// It is safe for concurrent use.
type Engine struct {
	cfg   Config
	log   *slog.Logger
	epoch time.Time
	plane plane // nil in a table alone

	predecessor *predecessor // whose table this was, until this one runs; nil if there was none

	// changing is held, by a value in it, from the reading of the table to its
	// change, and taken before mu.
	changing chan struct{}

	mu       sync.Mutex // guards what follows, with all that it leads to
	services map[ipvs.ServiceID]*service
	added    uint64 // services so far
	trash    map[trashed]*destination
	sweepAt  time.Duration
	timeouts ipvs.Timeouts
	closed   bool
	running  bool
}

var _ ipvs.Table = (*Engine)(nil)

// Open makes an Engine with an empty table, or with that of its predecessor
// (see Config.Handover). What is added to the table listens at once; its clients
// wait in the backlog until Run.
func Open(cfg Config) (*Engine, error) {
	e := &Engine{
		cfg: cfg, log: cfg.Logger, epoch: time.Now(), changing: make(chan struct{}, 1),
		services: map[ipvs.ServiceID]*service{}, trash: map[trashed]*destination{}, timeouts: defaultTimeouts,
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if !cfg.TableOnly {
		p, err := newPlane(e)
		if err != nil {
			return nil, &ipvs.OpError{Op: "open", Err: err}
		}
		e.plane = p
		if err := e.inherit(); err != nil {
			p.close()
			return nil, &ipvs.OpError{Op: "open", Err: err}
		}
	}
	return e, nil
}

// Run forwards until ctx ends: then it takes nothing new, lets connections go
// on for Config.DrainTimeout, cuts the others and returns nil. When a successor
// runs (see Config.Handover) it ends likewise, with an error that matches
// ErrSucceeded.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.enter(); err != nil {
		return &ipvs.OpError{Op: "run", Err: err}
	}
	defer func() {
		e.mu.Lock()
		e.running = false
		e.mu.Unlock()
	}()
	if err := e.runPlane(ctx); err != nil {
		return &ipvs.OpError{Op: "run", Err: err}
	}
	return nil
}

func (e *Engine) enter() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return net.ErrClosed
	case e.plane == nil:
		return ErrTableOnly
	case e.running:
		return ErrRunning
	}
	e.running = true
	return nil
}

// Close ends the Engine: its sockets are closed, and all later calls match
// net.ErrClosed. A Run that goes on ends at once.
func (e *Engine) Close() error {
	e.mu.Lock()
	was := e.closed
	e.closed = true
	e.mu.Unlock()
	if was || e.plane == nil {
		return nil
	}
	e.predecessor.close()
	return e.plane.close() // the workers need mu for their last connections
}

// now is the time since the epoch of the Engine, by the monotonic clock.
func (e *Engine) now() time.Duration { return time.Since(e.epoch) }
