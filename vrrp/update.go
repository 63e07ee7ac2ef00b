package vrrp

import (
	"slices"
)

// Update changes the configuration without losing the state: an Active router
// stays Active, its Binder gets Acquire again, and what follows from another
// priority or interval follows in due course. What a program sets to the same is
// no change. When Update returns, the change is in force.
//
// Interface, VRID, Version, the family of the addresses, NetNS and Group cannot
// change: that, and a Config that is not right, matches fs.ErrInvalid, and the
// Router goes on as it was. Another Binder gets the addresses after the old one
// has released them.
func (r *Router) Update(cfg Config) error {
	next, err := cfg.normal()
	if err != nil {
		return opError("update", r.config().Name, err)
	}
	r.updating.Lock()
	defer r.updating.Unlock()
	done := make(chan struct{})
	told := false
	err = func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err := unchanged(r.cfg, &next); err != nil {
			return err
		}
		if err := fits(&next, r.trackers); err != nil {
			return err
		}
		r.cfg = complete(next)
		cfg := r.cfg
		all := r.weights()
		told = r.tell(func(l *loop, i *instance) {
			defer close(done)
			l.update(i, cfg, all)
		})
		return nil
	}()
	if err != nil {
		return opError("update", r.config().Name, err)
	}
	if told {
		<-done
	}
	return nil
}

// unchanged complains about a change of what cannot change.
func unchanged(old, next *Config) error {
	for _, f := range []struct {
		name string
		same bool
	}{
		{"Interface", old.Interface == next.Interface},
		{"VRID", old.VRID == next.VRID},
		{"Version", old.Version == next.Version},
		{"the family of Addresses", old.ipv6() == next.ipv6()},
		{"NetNS", old.NetNS == next.NetNS},
		{"Group", old.Group == next.Group},
	} {
		if !f.same {
			return invalid("%s cannot change: make another Router", f.name)
		}
	}
	return nil
}

// update brings a new configuration to all that go by it.
func (l *loop) update(i *instance, cfg *Config, trackers []weight) {
	old := i.cfg
	i.cfg = cfg
	i.w.config(cfg)
	i.w2.config(cfg)
	i.o.config(cfg)
	if l.stopping {
		return
	}
	if !slices.Equal(old.Addresses, cfg.Addresses) || !slices.Equal(i.wants(), i.wired) {
		l.rewire()
	}
	if !sameBinder(old.Binder, cfg.Binder) {
		i.bind.replace(cfg.Binder)
	}
	effect, _ := effective(cfg.Priority, trackers)
	l.step(i, input{kind: inConfig, cfg: cfg, priority: effect})
	l.weigh(i, trackers)
	l.link(i)
}
