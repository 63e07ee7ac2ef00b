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
	wg.Go(func() {
		broken <- notices.read(m.concerns, m.overrun, func() { notify(dirty) })
	})
	err = m.loop(ctx, dirty, broken, box)
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

// leave releases when Run ends.
func (m *Manager) leave(ctx context.Context) error {
	if m.cfg.Keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	return m.Release(ctx)
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
	if !m.status.Holding {
		w.missing = map[string]Event{}
		m.status.Missing = nil
		return time.Time{}
	}
	err := m.change(ctx, "watch", func(k *kernel) error {
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
	held := follow(m.status.State, m.index, have.Links)
	changes, errs := plan(have, held)
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
	m.reindex(have.Links)
	return len(done) > 0, nil
}

// reindex learns the interfaces that are new, or have come back as new ones.
func (m *Manager) reindex(links []Link) {
	for _, link := range links {
		known := func(l Link) bool { return l.Index == m.index[link.Name] }
		if !slices.ContainsFunc(links, known) {
			m.index[link.Name] = link.Index
		}
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
