package director

import (
	"context"
	"fmt"
	"slices"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/ipvs"
)

// watch gives the monitor the checks of a configuration. Those that it has keep
// their state. A real server that is in use already, by a run that was killed, or
// while it is drained, is taken for well until its check says otherwise.
func (d *director) watch(ctx context.Context, cfg config, have []ipvs.ServiceStatus) error {
	addresses, err := d.manager.Read(ctx)
	if err != nil {
		return err
	}
	d.marks.keep(cfg.throughVIP())
	if err := d.change(ctx, d.ways(cfg), ipvs.Policy{}); err != nil { // before the first probe
		return err
	}
	wanted := map[string]bool{}
	for _, s := range cfg.services {
		for _, real := range s.Destinations {
			if s.check == nil {
				continue
			}
			target, err := d.target(cfg, s, real.Addr, addresses)
			if err != nil {
				return err
			}
			id, check := checkID(s.ID, real.Addr), s.check.of(target)
			if key := (drainKey{s.ID, real.Addr}); d.draining[key] != nil || inUse(have, key) {
				check.Initial = health.Up
			}
			if err := d.monitor.Set(id, check); err != nil {
				return err
			}
			wanted[id] = true
		}
	}
	for id := range d.monitor.Snapshot() {
		if !wanted[id] {
			d.monitor.Remove(id)
		}
	}
	return nil
}

func inUse(have []ipvs.ServiceStatus, key drainKey) bool {
	for _, s := range have {
		if s.ID == key.service {
			return slices.ContainsFunc(s.Destinations, func(d ipvs.DestinationStatus) bool { return d.Addr == key.real && d.Weight > 0 })
		}
	}
	return false
}

// checked is called by the monitor.
func (d *director) checked(c health.Change) {
	if c.From != c.To {
		reason := "passed"
		if c.Err != nil {
			reason = c.Err.Error()
		}
		fmt.Fprintf(d.out, "%s %s: %s\n", c.To, c.ID, reason)
	}
	select {
	case d.changed <- struct{}{}:
	default: // serve will look anyway
	}
}
