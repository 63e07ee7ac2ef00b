package vrrp

import "context"

// A Router takes part in the election of one virtual router on one link.
type Router struct{}

// New makes a Router from cfg and touches nothing.
func New(cfg Config) (*Router, error) { return nil, nil }

// Run takes part until ctx ends; then it resigns with priority 0 if it is Active,
// releases the addresses, and returns.
func (r *Router) Run(ctx context.Context) error { return Run(ctx, r) }

// Run runs any number of Routers on one thread, with one socket for each
// interface and family, until ctx ends. All must be in one network namespace;
// the members of a sync group must be run together.
func Run(ctx context.Context, routers ...*Router) error { return nil }

// Update changes the configuration without losing the state. Interface, VRID,
// Version, family, NetNS and Group cannot change.
func (r *Router) Update(cfg Config) error { return nil }

// Status is what the Router is and has seen.
func (r *Router) Status() Status { return Status{} }

// Track adds a tracker...
func (r *Router) Track(name string, weight int) (*Tracker, error) { return nil, nil }

// A Tracker ...
type Tracker struct{}

// Up says that what is tracked is well.
func (t *Tracker) Up() {}

// Down says that it is not.
func (t *Tracker) Down() {}
