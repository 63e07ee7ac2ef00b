package nat

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Run keeps the rules as the last Apply, Add or Remove of this Table left them: what
// others remove or change (a "flush ruleset", a restart of a firewall) it puts
// back within some 100 ms, or within Config.Interval where the kernel does not
// tell of it, and says so by Config.OnRepair. Rules of others it does not look at,
// and they may change all the time. Before the first change, and after Clear, it leaves
// everything alone. A repair that fails is tried again, with pauses of up to a
// minute.
//
// Two programs must not keep different rules of one name: each takes the other's
// for damage. After a few repairs Run makes them slower and slower, down to one a
// minute, and each is reported with ErrContested.
//
// Run returns nil when the context ends, and an error that matches net.ErrClosed
// after Close. By then the last call of OnRepair has returned.
func (t *Table) Run(ctx context.Context) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer t.end()
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	told := &reports{call: t.cfg.OnRepair, more: make(chan struct{}, 1)}
	beside.Go(told.deliver)
	defer told.close()
	defer stop()
	news := make(chan struct{}, 1)
	beside.Go(func() { t.watch(ctx, func() { notify(news) }) })
	return t.keep(ctx, news, told)
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (t *Table) begin(ctx context.Context) error {
	return t.do(ctx, "run", func() error {
		if t.running {
			return exists("it runs already")
		}
		t.running = true
		return nil
	})
}

// end closes the backend if Close had to leave that to Run.
func (t *Table) end() {
	t.turn <- struct{}{}
	defer t.leave()
	t.running = false
	select {
	case <-t.closed:
		if err := t.b.close(); err != nil {
			t.log.Warn("close", "name", t.cfg.Name, "err", err)
		}
	default:
	}
}

// watch calls tell whenever something may have changed: as the kernel says, or each
// interval where it does not or can not be listened to.
func (t *Table) watch(ctx context.Context, tell func()) {
	for pause := againLeast; ; pause = min(2*pause, againMost) {
		began := time.Now()
		err := t.b.watch(ctx, tell)
		if ctx.Err() != nil {
			return
		}
		never := errors.Is(err, errors.ErrUnsupported)
		if !never {
			t.log.Warn("the kernel can not be listened to: the rules are looked at now and then", "name", t.cfg.Name, "err", err)
			if time.Since(began) > calm {
				pause = againLeast
			}
		}
		tell()
		ticker := time.NewTicker(t.cfg.Interval)
		again := time.NewTimer(pause)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				ticker.Stop()
				again.Stop()
				return
			case <-ticker.C:
				tell()
			case <-again.C:
				waiting = never
			}
		}
		ticker.Stop()
	}
}

// keep looks at the rules when the pace says so.
func (t *Table) keep(ctx context.Context, news <-chan struct{}, told *reports) error {
	p := pace{most: t.cfg.Interval}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.closed:
			return &OpError{Op: "run", Err: net.ErrClosed}
		case <-news:
			p.news(time.Now())
		case <-timer.C:
			r := t.repair(ctx)
			if ctx.Err() == nil {
				p.looked(time.Now(), r.took, r.repaired, r.err != nil)
				t.report(&p, r, told)
			}
		}
		timer.Reset(time.Until(p.due))
	}
}

// repair is what a look found and did.
type repair struct {
	changes  []Change
	repaired bool // rules had to be put back, and were
	err      error
	took     time.Duration // without the wait for other calls
}

// repair puts back what is missing.
func (t *Table) repair(ctx context.Context) (r repair) {
	r.err = t.do(ctx, "repair", func() error {
		if t.want == nil {
			return nil
		}
		defer func(began time.Time) { r.took = time.Since(began) }(time.Now())
		wrong := false
		err := again(ctx, func() error {
			s, err := t.b.current(ctx)
			if err != nil {
				return err
			}
			r.changes, s.goal = planSet(s.list(), t.want), t.want.clone()
			if wrong = len(r.changes) > 0 || s.there && !s.sound; wrong {
				err = t.b.write(ctx, s, r.changes, t.want.rules())
			}
			return err
		})
		if err != nil {
			return err
		}
		r.repaired = wrong
		return t.forget(ctx, r.changes, t.unsure)
	})
	return r
}

// report tells what a look found, if it found something.
func (t *Table) report(p *pace, r repair, told *reports) {
	if !r.repaired && r.err == nil || errors.Is(r.err, net.ErrClosed) {
		return
	}
	t.count(func(s *Stats) {
		if r.repaired {
			s.Repairs++
		} else {
			s.FailedRepairs++
		}
	})
	if r.err == nil && p.contested() {
		r.err = &OpError{Op: "repair", Err: ErrContested}
	}
	if r.repaired {
		t.log.Warn("rules that others had changed are put back", "name", t.cfg.Name, "changes", len(r.changes), "err", r.err)
	} else {
		t.log.Error("rules that others have changed can not be put back", "name", t.cfg.Name, "changes", len(r.changes), "err", r.err)
	}
	told.add(r)
}

// reports are what OnRepair has not been told yet: it may take its time.
type reports struct {
	call func([]Change, error)
	more chan struct{} // something new is in list, or it is done

	mu   sync.Mutex // guards list, done
	list []repair
	done bool
}

func (r *reports) add(one repair) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.call != nil {
		r.list = append(r.list, one)
		notify(r.more)
	}
}

// close is that no more will come. What is there is delivered all the same.
func (r *reports) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	notify(r.more)
}

// deliver calls OnRepair until close.
func (r *reports) deliver() {
	for {
		r.mu.Lock()
		list, done := r.list, r.done
		r.list = nil
		r.mu.Unlock()
		for _, one := range list {
			r.call(one.changes, one.err)
		}
		switch {
		case len(list) > 0:
		case done:
			return
		default:
			<-r.more
		}
	}
}
