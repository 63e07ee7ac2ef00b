package nat

import (
	"context"
	"time"
)

const (
	// settle is how long Run waits after news before it looks, so that what others do in
	// several steps is done: a reload of the firewall, a restart of docker.
	settle = 100 * time.Millisecond
	// againLeast and againMost are the pauses before a repair that failed is tried again.
	againLeast = time.Second
	againMost  = time.Minute
)

// Run keeps the rules as the last Apply, Add or Remove of this Table left them: what
// others remove or change (a "flush ruleset", a restart of a firewall) it puts
// back within some 100 ms, or within Config.Interval where the kernel does not
// tell of it, and says so by Config.OnRepair. Before the first change, and after
// Clear, it leaves everything alone. It returns when the context ends, with
// the context's error.
func (t *Table) Run(ctx context.Context) error {
	news := make(chan struct{}, 1)
	watched := make(chan error, 1)
	watch, stop := context.WithCancel(ctx)
	go func() {
		watched <- t.b.watch(watch, func() {
			select {
			case news <- struct{}{}:
			default:
			}
		})
	}()
	defer func() {
		stop()
		<-watched
	}()
	timer := time.NewTimer(0) // others may have been here before
	defer timer.Stop()
	for pause := againLeast; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-watched:
			watched <- err
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &OpError{Op: "watch", Err: err}
		case <-news:
			timer.Reset(settle)
		case <-timer.C:
			if err := t.repair(ctx); err == nil {
				pause = againLeast
			} else {
				timer.Reset(pause)
				pause = min(2*pause, againMost)
			}
		}
	}
}

// repair puts back what is missing.
func (t *Table) repair(ctx context.Context) error {
	var changes []Change
	repaired := false
	err := t.do(ctx, "repair", func() error {
		if t.want == nil {
			return nil
		}
		err := again(ctx, func() error {
			s, err := t.b.current(ctx)
			if err != nil {
				return err
			}
			want := t.want.rules()
			changes, err = plan(s.list(), want)
			if err == nil && (len(changes) > 0 || s.there && !s.sound) {
				repaired = true
				err = t.b.write(ctx, s, changes, want)
			}
			return err
		})
		if err == nil {
			err = t.forget(ctx, changes)
		}
		return err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if repaired || err != nil {
		t.log.Warn("rules were removed or changed by others", "name", t.cfg.Name, "changes", len(changes), "err", err)
		if t.cfg.OnRepair != nil {
			t.cfg.OnRepair(changes, err)
		}
	}
	return err
}
