package vrrp

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// A Tracker is something that the Router depends on: a link, a process, a health
// check. It is up until Down is called.
type Tracker struct {
	r      *Router
	name   string
	weight int  // guarded by r.mu, as all below
	down   bool //
	closed bool
}

// Track adds a tracker, which is up. A weight above 0 is added to the priority
// while it is up, one below 0 subtracted while it is down, and with 0 the Router
// goes to Fault while it is down. The sum stays within 1 to 254; the priority 255
// of an owner never changes.
//
// A name that is taken matches fs.ErrExist. A weight has no use with NoPreempt,
// which never looks at priorities, nor in a sync group, the members of which must
// agree: only 0 is allowed there, and others match fs.ErrInvalid, as does one
// beyond 253 and an empty name.
func (r *Router) Track(name string, weight int) (*Tracker, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &Tracker{r: r, name: name, weight: weight}
	err := fits(r.cfg, map[string]*Tracker{name: t})
	switch {
	case err != nil:
	case name == "":
		err = invalid("a tracker has no name")
	case r.trackers[name] != nil:
		err = fmt.Errorf("tracker %s: %w", name, fs.ErrExist)
	}
	if err != nil {
		return nil, opError("track", r.cfg.Name, err)
	}
	r.trackers[name] = t
	r.weigh()
	return t, nil
}

// fits checks that trackers and configuration go together.
func fits(cfg *Config, trackers map[string]*Tracker) error {
	for _, name := range slices.Sorted(maps.Keys(trackers)) {
		switch w := trackers[name].weight; {
		case w < -253 || w > 253:
			return invalid("tracker %s has weight %d: want -253 to 253", name, w)
		case w != 0 && cfg.NoPreempt:
			return invalid("tracker %s has weight %d, which has no effect with NoPreempt: want 0 (Fault while it is down)", name, w)
		case w != 0 && cfg.Group != nil:
			return invalid("tracker %s has weight %d in a sync group: want 0 (Fault while it is down)", name, w)
		}
	}
	return nil
}

// Up says that what is tracked is well. It does not wait for what follows.
func (t *Tracker) Up() { t.set(false) }

// Down says that it is not.
func (t *Tracker) Down() { t.set(true) }

func (t *Tracker) set(down bool) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	if t.closed || t.down == down {
		return
	}
	t.down = down
	t.r.weigh()
}

// Close takes the tracker away, with its effect; its name can be used again.
func (t *Tracker) Close() error {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	delete(t.r.trackers, t.name)
	t.r.weigh()
	return nil
}

// weights are those of all trackers. The caller holds r.mu.
func (r *Router) weights() []weight {
	all := make([]weight, 0, len(r.trackers))
	for _, t := range r.trackers {
		all = append(all, weight{value: t.weight, up: !t.down})
	}
	return all
}

// current is weights for those who do not hold r.mu.
func (r *Router) current() []weight {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.weights()
}

// weigh tells the loop about the trackers. The caller holds r.mu, so that the
// last word is the last to arrive.
func (r *Router) weigh() {
	all := r.weights()
	r.tell(func(l *loop, i *instance) { l.weigh(i, all) })
}
