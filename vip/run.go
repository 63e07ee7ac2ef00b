package vip

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	passSpacing   = 20 * time.Millisecond // between two looks at the kernel
	roundSpacing  = 5 * time.Millisecond  // between two rounds, so that they gather
	passResync    = 30 * time.Second      // a look without a notice: settings give none
	releaseWithin = 10 * time.Second
)

// Run watches what is held, and puts back or reports what goes missing, as
// Config.OnLoss says. It blocks until ctx ends; then it releases everything
// (unless Config.Keep) and returns nil, or why that failed. Apply, Acquire and
// Release may be called before and during Run.
//
// Interfaces that go and come back get their addresses back; one that is renamed
// keeps them. The kernel takes IPv6 addresses from an interface that goes down,
// and Run puts them back.
func (m *Manager) Run(ctx context.Context) error {
	if err := m.begin(); err != nil {
		return opError("run", "", err)
	}
	defer m.end()
	notices, err := listen(m.cfg.NetNS, m.room)
	if err != nil {
		return errors.Join(opError("watch", "", err), m.leave(ctx))
	}
	var wg sync.WaitGroup
	box := newMailbox(m.cfg.OnEvent)
	dirty, broken := make(chan struct{}, 1), make(chan error, 1)
	wg.Go(box.deliver)
	announcing, quiet := context.WithCancel(ctx)
	wg.Go(func() { m.announceLater(announcing) })
	wg.Go(func() { m.watchConflicts(announcing, box) })
	wg.Go(func() {
		broken <- notices.read(m.concerns, m.overrun, func() { notify(dirty) })
	})
	err = m.loop(ctx, dirty, broken, box)
	quiet()
	notices.close()
	err = errors.Join(err, m.leave(ctx))
	box.close()
	wg.Wait()
	return err
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (m *Manager) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		return errors.New("it runs already")
	}
	m.running = true
	return nil
}

func (m *Manager) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = false
	m.status.Missing = nil
}

// leave releases when Run ends: the Sets, and what is the Manager's own.
func (m *Manager) leave(ctx context.Context) error {
	if m.cfg.Keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.each(m.herald.drop)
	return m.change(ctx, "release", m.session, func(k *kernel) error {
		m.each(func(s *Set) { m.remember(s, false, s.state) })
		have, err := k.read()
		if err != nil {
			return err
		}
		changes, _ := plan(have, State{}, claims{})
		done, err := carryOut(ctx, k, changes)
		m.filtered(have, done)
		return err
	})
}

// loop looks at the kernel when there is a notice, when something is due to be
// put back, and now and then.
func (m *Manager) loop(ctx context.Context, dirty <-chan struct{}, broken <-chan error, box *mailbox) error {
	w := newWatch(m.cfg.OnLoss)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return opError("watch", "", err)
		case <-dirty:
		case <-m.wake:
		case <-timer.C:
		}
		wait := passResync
		if wake := m.pass(ctx, w, box); !wake.IsZero() {
			wait = max(passSpacing, min(wait, time.Until(wake)))
		}
		timer.Reset(wait)
		select { // a storm of notices is one look
		case <-ctx.Done():
			return nil
		case <-time.After(passSpacing):
		}
	}
}

// pass compares what is held with the kernel, and looks again after it has put
// something back.
func (m *Manager) pass(ctx context.Context, w *watch, box *mailbox) (wake time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.holds() {
		w.missing = map[string]Event{}
		m.status.Missing = nil
		return time.Time{}
	}
	err := m.change(ctx, "watch", m.session, func(k *kernel) error {
		again, err := m.look(ctx, k, w, box, &wake)
		if again && err == nil {
			_, err = m.look(ctx, k, w, box, &wake)
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		m.cfg.Logger.Error("virtual addresses could not be watched", "err", err)
		wake = time.Now().Add(putBackFirst)
	}
	m.status.Missing = slices.Sorted(maps.Keys(w.missing))
	return wake
}

// look is one comparison. It tells whether it changed something.
func (m *Manager) look(ctx context.Context, k *kernel, w *watch, box *mailbox, wake *time.Time) (bool, error) {
	have, err := k.read()
	if err != nil {
		return false, err
	}
	m.announceChanged(have.Links)
	states := m.held(nil, have.Links)
	held := union(states)
	changes, errs := plan(have, held, claims{own: refused(states...)})
	making, _ := split(changes)
	due, events, next := w.step(time.Now(), held, making, errs)
	*wake = next
	m.tell(events, box)
	if len(due) == 0 {
		return false, nil
	}
	done, err := carryOut(ctx, k, due)
	m.status.PutBack += uint64(len(done))
	m.tell(failures(err), box)
	m.each(func(s *Set) {
		s.relearn(have.Links)
		m.announceAdded(s, done)
	})
	return len(done) > 0, nil
}

// announceAdded announces what has been added to a set that was announced.
func (m *Manager) announceAdded(s *Set, done []Change) {
	added := map[addressKey]bool{}
	for _, c := range done {
		if c.Op == AddAddress {
			added[c.Address.key()] = true
		}
	}
	if len(added) == 0 {
		return
	}
	m.herald.again(time.Now(), func(of *Set, a Address) bool { return of == s && added[a.key()] })
}

// announceChanged announces what is on interfaces that have another MAC, or
// carrier again. The caller has m.mu.
func (m *Manager) announceChanged(links []Link) {
	if changed := m.herald.changed(links); len(changed) > 0 {
		m.herald.again(time.Now(), func(s *Set, a Address) bool { return changed[s.index[a.Interface]] })
	}
}

// announceLater sends the rounds that Announce does not wait for, until ctx ends.
func (m *Manager) announceLater(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.herald.more:
		case <-timer.C:
		}
		if tasks := m.herald.take(time.Now()); len(tasks) > 0 {
			if err := m.send(ctx, tasks); err != nil && ctx.Err() == nil {
				m.cfg.Logger.Warn("virtual addresses could not be announced", "err", err)
			}
		}
		wait := passResync
		if next := m.herald.next(); !next.IsZero() {
			wait = max(roundSpacing, time.Until(next))
		}
		timer.Reset(wait)
	}
}

// tell logs, counts and delivers events.
func (m *Manager) tell(events []Event, box *mailbox) {
	for _, e := range events {
		log := m.cfg.Logger.Warn
		switch e.Kind {
		case Lost:
			m.status.Lost++
		case Failed:
			m.status.Failed++
		case Conflict:
			m.status.Conflicts++
		case Back:
			log = m.cfg.Logger.Info
		}
		log("virtual address state changed", "state", e.Kind.String(), "vip", e.Object, "err", e.Err)
	}
	box.put(events)
}

func (m *Manager) overrun() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Overruns++
}

// A mailbox hands events to a callback in their order, however slow it is.
type mailbox struct {
	callback func(Event)
	mu       sync.Mutex // guards below
	more     *sync.Cond
	events   []Event
	closed   bool
}

func newMailbox(callback func(Event)) *mailbox {
	b := &mailbox{callback: callback}
	b.more = sync.NewCond(&b.mu)
	return b
}

func (b *mailbox) put(events []Event) {
	if b.callback == nil || len(events) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, events...)
	b.more.Signal()
}

func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.more.Signal()
}

// deliver calls the callback until the box is closed and empty.
func (b *mailbox) deliver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for len(b.events) == 0 {
			if b.closed {
				return
			}
			b.more.Wait()
		}
		events := b.events
		b.events = nil
		b.mu.Unlock()
		for _, e := range events {
			b.callback(e)
		}
		b.mu.Lock()
	}
}

// Announce tells the neighbours where the Set's addresses are, as
// Manager.Announce does.
func (s *Set) Announce(ctx context.Context) error {
	tasks, err := s.m.herald.begin(time.Now(), s)
	if len(tasks) > 0 && err == nil {
		err = s.m.send(ctx, tasks)
	}
	return opError("announce", s.object(), err)
}
