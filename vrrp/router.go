package vrrp

import (
	"context"
	"log/slog"
	"sync"
)

// A Router takes part in the election of one virtual router on one link. Its
// methods may be called by any goroutine, whether it runs or not.
type Router struct {
	updating sync.Mutex // one Update at a time

	mu       sync.Mutex // guards all below
	cfg      *Config    // valid and complete; never changed, but replaced
	trackers map[string]*Tracker
	running  bool
	loop     *loop     // while it runs
	instance *instance // while it runs
	last     Status    // of the last Run
	stats    Stats     // of all Runs that have ended
}

// New makes a Router from cfg and touches nothing. A Config that is not right
// matches fs.ErrInvalid.
func New(cfg Config) (*Router, error) {
	name := cfg.Name
	if name == "" {
		name = cfg.Interface
	}
	cfg, err := cfg.normal()
	if err == nil {
		err = fits(&cfg, nil)
	}
	if err != nil {
		return nil, opError("new", name, err)
	}
	return &Router{cfg: complete(cfg), trackers: map[string]*Tracker{}}, nil
}

// complete is what a Config needs to be used without questions.
func complete(cfg Config) *Config {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &cfg
}

// Run takes part until ctx ends; then it resigns with priority 0 if it is Active,
// releases the addresses, and returns. See the function Run, which this is for one
// Router.
func (r *Router) Run(ctx context.Context) error { return Run(ctx, r) }

// config is the current configuration.
func (r *Router) config() *Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg
}

// begin marks the Router as running.
func (r *Router) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return opError("run", r.cfg.Name, ErrRunning)
	}
	r.running = true
	return nil
}

// join makes the loop known, so that it can be told things.
func (r *Router) join(l *loop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loop, r.instance = l, l.add(r, r.cfg, r.stats)
}

// stopped keeps what is left of a Run when its loop ends.
func (r *Router) stopped(s Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.stats = s, s.Stats
	r.loop, r.instance = nil, nil
}

// end lets the Router be run again.
func (r *Router) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = false
}

// tell hands f to the loop, with the instance; it is false if the Router does not
// run. The caller holds r.mu.
func (r *Router) tell(f func(*loop, *instance)) bool {
	l, i := r.loop, r.instance
	return l != nil && l.box.post(func() { f(l, i) })
}
