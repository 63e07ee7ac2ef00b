package vrrp

import "context"

// A Binder holds the virtual addresses while a Router is Active. *vip.Manager and
// *vip.Set are Binders; so is whatever calls a cloud's API. The Router calls it
// from one goroutine, one call at a time, beside the protocol: a slow Binder
// never delays an advertisement.
type Binder interface {
	// Acquire puts the addresses in place, those that are already included. It is
	// called when the Router has become Active, after its first advertisement, and
	// again after an Update. ctx ends when the Router is not Active any more. After an
	// error it is called again; if it fails for an Active_Down_Interval the Router goes
	// to Fault for 30 s, so that others may try. One that never returns is no failure
	// yet: give it a deadline of its own.
	Acquire(ctx context.Context) error
	// Release takes the addresses away. It is called when the Router ceases to be
	// Active, also when Acquire failed, and once before it starts, for what a killed
	// predecessor may have left.
	Release(ctx context.Context) error
	// Announce tells the neighbours where the addresses are: after Acquire, and
	// again when another router seems to have claimed them.
	Announce(ctx context.Context) error
}
