package director

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// hold holds the addresses until ctx ends: always, or with VRRP while this director
// is the Active one of its pair. The election begins when the real servers are
// known, so that a director that knows nothing does not displace one that serves.
func (d *director) hold(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.settled:
	}
	if d.router == nil {
		return d.manager.Run(ctx) // puts back what somebody takes away, and releases in the end
	}
	// The addresses are watched for a little longer than they are held.
	watched, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	var watchErr error
	watching.Go(func() {
		defer cancel()
		watchErr = d.manager.Run(watched)
	})
	err := d.router.Run(d.leaving(ctx)) // in the end it resigns, and releases
	end()
	watching.Wait()
	return errors.Join(err, watchErr)
}

// leaving ends when ctx does and the clients have been told.
func (d *director) leaving(ctx context.Context) context.Context {
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		defer end()
		if err := d.table.hangUp(later); err != nil {
			d.complain(err)
		}
	})
	return later
}

// prepare makes what the election needs. What a killed run has left of addresses
// goes at once: another director may hold them now.
func (d *director) prepare(ctx context.Context, cfg config) (err error) {
	if cfg.router == nil {
		return nil
	}
	if d.addresses, err = d.manager.Set("services", vip.State{Addresses: cfg.addresses}); err != nil {
		return err
	}
	d.held = cfg.addresses
	if d.router, err = vrrp.New(d.elect(*cfg.router)); err != nil {
		return err
	}
	return d.addresses.Release(ctx)
}

// elect adds to the configuration of the election what holds the addresses, and who
// is told.
func (d *director) elect(cfg vrrp.Config) vrrp.Config {
	cfg.Binder, cfg.OnEvent = d.addresses, d.event
	return cfg
}

func (d *director) event(e vrrp.Event) {
	if e.Kind != vrrp.Transition {
		fmt.Fprintln(os.Stderr, "director:", e)
		return
	}
	fmt.Fprintf(d.out, "state %s -> %s %s\n", e.From, e.To, e.Reason)
	if e.From == vrrp.Initialize {
		fmt.Fprintln(d.out, "ready")
	}
}

// address makes the addresses those of the services, the drained ones included.
// With VRRP that is what the election holds, now or later.
func (d *director) address(ctx context.Context) (err error) {
	want := d.config.addresses
	for key := range d.draining {
		a := vip.Address{Interface: d.config.interfaces[0], Addr: key.service.Addr.Addr()}
		if !slices.Contains(want, a) {
			want = append(want[:len(want):len(want)], a)
		}
	}
	if slices.Equal(want, d.held) {
		return nil
	}
	var changes []vip.Change
	if d.router != nil {
		changes, err = d.addresses.Update(ctx, vip.State{Addresses: want})
	} else {
		changes, err = d.manager.Apply(ctx, vip.State{Addresses: want})
	}
	show(d.out, changes)
	if err == nil {
		d.held = want
	}
	return err
}
