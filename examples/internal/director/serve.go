package director

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/ipvs"
)

const (
	// repair is how long something that others have changed in the table stays so.
	repair = 10 * time.Second
	// again is when something that failed is tried again.
	again = time.Second
	// waiting is how often it is seen whether the predecessor has ended.
	waiting = 100 * time.Millisecond
)

// serve keeps the table, and with it the addresses, as the configuration and the
// checks want them, until ctx ends. It alone touches pools and drains.
func (d *director) serve(ctx context.Context, hup <-chan os.Signal) error {
	patience := time.NewTimer(d.config.patience())
	defer patience.Stop()
	settled, late := false, false
	for {
		next, err := d.apply(ctx)
		if err == nil && !settled && (late || d.known()) {
			if settled, err = d.settle(ctx); err != nil {
				return err
			}
			if !settled {
				next = min(next, waiting)
			}
		} else if err == nil && settled {
			err = d.address(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			d.complain(err)
			next = again
		}
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			d.reload(ctx)
		case <-d.changed:
		case key := <-d.drained:
			d.endDrain(key)
		case <-patience.C:
			late = true
		case <-time.After(next):
		}
	}
}

// settle lets the addresses come, now that the real servers are known. It is false
// while a predecessor has them.
func (d *director) settle(ctx context.Context) (done bool, err error) {
	if only, err := d.open(); !only {
		return false, err
	}
	if err := d.address(ctx); err != nil {
		return false, err
	}
	if d.router == nil {
		fmt.Fprintln(d.out, "ready")
	}
	close(d.settled)
	return true, nil
}

// configure makes cfg what is wanted, at the start and by reload. apply then makes
// it so.
func (d *director) configure(ctx context.Context, cfg config) error {
	settings, err := d.settings.Apply(ctx, cfg.kernel)
	show(d.out, settings)
	if err != nil {
		return err
	}
	if err := d.table.synchronise(ctx, cfg.sync); err != nil {
		return err
	}
	have, err := d.table.Services(ctx)
	if err != nil {
		return err
	}
	if err := d.watch(ctx, cfg, have); err != nil {
		return err
	}
	pools := make([]*pool, 0, len(cfg.services))
	for _, s := range cfg.services {
		p := &pool{service: s}
		if i := slices.IndexFunc(d.pools, func(old *pool) bool { return old.ID == s.ID }); i >= 0 {
			p.decide, p.said = d.pools[i].decide, d.pools[i].said
			err = p.decide.Update(s.policy)
		} else {
			p.decide, err = health.NewPool(s.policy)
		}
		if err != nil {
			return err
		}
		pools = append(pools, p)
	}
	before := d.config
	d.config, d.pools = cfg, pools
	d.leave(ctx, have, before)
	return nil
}

// apply makes the table what is wanted now. In a while it may want something else
// by itself.
func (d *director) apply(ctx context.Context) (while time.Duration, err error) {
	now := time.Now()
	while = repair
	var want []ipvs.Service
	for _, p := range d.pools {
		s, next := p.want(now, d.monitor, d.out)
		want = append(want, s)
		if !next.IsZero() {
			while = min(while, max(0, next.Sub(now)))
		}
	}
	want = append(d.withDraining(want), d.ways(d.config)...)
	if err := d.change(ctx, want, d.table.policy()); err != nil {
		return while, err
	}
	return while, d.table.ownOnly(want)
}

// change makes the table have these services, which are noted as ours before.
func (d *director) change(ctx context.Context, want []ipvs.Service, policy ipvs.Policy) error {
	if err := d.table.own(want); err != nil {
		return err
	}
	changes, err := d.table.Apply(ctx, want, policy)
	show(d.out, changes)
	return err
}

// reload reads the file again. One that is wrong changes nothing.
func (d *director) reload(ctx context.Context) {
	cfg, err := readFile(d.file)
	if err == nil {
		cfg, err = d.table.fit(cfg)
	}
	if err == nil {
		err = d.compatible(cfg)
	}
	if err != nil {
		d.complain(fmt.Errorf("nothing is changed: %w", err))
		return
	}
	if err := d.configure(ctx, cfg); err != nil {
		d.complain(err)
		return
	}
	fmt.Fprintln(d.out, "reloaded")
}

// compatible finds what cannot change while the director runs, and tells the
// router of the rest.
func (d *director) compatible(cfg config) error {
	switch {
	case (cfg.router == nil) != (d.config.router == nil):
		return errors.New("vrrp: it cannot come or go while the director runs: start it again")
	case cfg.router == nil:
		return nil
	}
	return at("vrrp", d.router.Update(d.elect(*cfg.router)))
}

// patience is how long the addresses wait for the first results.
func (c config) patience() time.Duration {
	longest := time.Second
	for _, s := range c.services {
		if s.check != nil {
			longest = max(longest, time.Duration(s.check.Timeout))
		}
	}
	return longest + time.Second
}

func (d *director) known() bool {
	return !slices.ContainsFunc(d.pools, func(p *pool) bool { return !p.known(d.monitor) })
}

// complain tells of an error after which it goes on.
func (d *director) complain(err error) { fmt.Fprintln(os.Stderr, "director:", err) }
