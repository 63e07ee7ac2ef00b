package health

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Config is the configuration of a Monitor. The zero value is ready to use.
type Config struct {
	// Probes is how many probes may be under way at once; 0 means 1024. A check
	// that has to wait for a place for longer than its timeout is inconclusive.
	Probes int
	// OnChange is told of every change, in order, on a goroutine of its own. A slow
	// one delays no probe, but the changes behind it wait; when very many do, those of one
	// check are merged. It may call the Monitor.
	OnChange func(Change)
	// Logger receives changes at level Info and single results at Debug; nil
	// discards them.
	Logger *slog.Logger
}

const defaultProbes = 1024

// Monitor probes any number of checks. It is safe for concurrent use.
type Monitor struct {
	cfg   Config
	epoch time.Time // of the durations that are times

	mu     sync.Mutex // guards all below, and every probe and member
	checks map[string]*member
	shared map[string]*probe // by Key
	probes int               // shared ones and others
	loop   *loop             // nil unless Run runs
	notify *notifier         // nil before Run and after it has returned
	hunger starvation
}

// New checks the configuration. The Monitor does nothing before Run.
func New(cfg Config) (*Monitor, error) {
	if cfg.Probes < 0 {
		return nil, opError("configure", "", invalid("Probes is %d: it is how many may be under way at once", cfg.Probes))
	}
	if cfg.Probes == 0 {
		cfg.Probes = defaultProbes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Monitor{cfg: cfg, epoch: clock(), checks: map[string]*member{}, shared: map[string]*probe{}}, nil
}

// Set adds a check, or replaces the one with this ID: what is known of it stays, and
// goes on under the new thresholds and intervals. It works before and during Run.
// A Check that is not valid (fs.ErrInvalid, or what the Prober's Validate says)
// changes nothing.
//
// The first probe of a new check comes within 100 ms, and 1 ms more for each check
// that has not been probed yet, but within its interval: few are known at once, and many
// are spread. If the Prober is replaced while it is under way, that probe is
// cancelled and the new one called; with a Key that others have it is let go on.
func (m *Monitor) Set(id string, c Check) error {
	c, err := c.normal()
	if err != nil {
		return opError("set", id, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	one, ok := m.checks[id]
	switch {
	case !ok:
		one = &member{id: id, check: c, known: known{state: c.Initial}, fromAt: now, starved: m.hunger.total}
		m.checks[id] = one
		m.admit(one, now)
	case one.check.Key != c.Key:
		m.dismiss(one)
		one.check = c
		m.admit(one, now)
	default:
		one.check = c
		m.replace(one.probe, c.Prober, now)
	}
	return nil
}

// admit gives a check its probe.
func (m *Monitor) admit(one *member, now time.Duration) {
	key := one.check.Key
	p := m.shared[key]
	if key == "" || p == nil {
		p = &probe{key: key, due: never, began: never}
		m.probes++
		if key != "" {
			m.shared[key] = p
		}
		if m.loop != nil {
			m.loop.fresh++
			p.fresh = true
		}
	}
	p.prober = one.check.Prober
	p.join(one)
	if m.loop == nil {
		return
	}
	if p.phase == idle {
		p.due = min(p.due, now+firstAfter(p.name(), one.check.Interval, m.loop.fresh))
	}
	m.plan(p)
}

// dismiss takes a check from its probe, which ends if nobody is left.
func (m *Monitor) dismiss(one *member) {
	p := one.probe
	if !p.leave(one) {
		return
	}
	m.probes--
	if p.key != "" {
		delete(m.shared, p.key)
	}
	if m.loop != nil {
		m.loop.abandon(p)
		m.loop.due.remove(p)
		if p.fresh {
			m.loop.fresh--
		}
	}
}

// replace gives a probe another Prober, and perhaps another interval.
func (m *Monitor) replace(p *probe, prober Prober, now time.Duration) {
	other := len(p.members) == 1 && !same(p.prober, prober)
	p.prober = prober
	if m.loop == nil {
		return
	}
	if other && p.phase == underway {
		m.loop.abandon(p)
		p.due = now
	}
	if p.phase == idle && !p.fresh {
		wait, _ := p.wait()
		p.due = min(p.due, now+wait)
	}
	m.plan(p)
}

// plan makes sure that the loop looks at a probe in time.
func (m *Monitor) plan(p *probe) {
	m.loop.due.set(p, p.deadline(&m.hunger))
	m.loop.sooner()
}

// Remove forgets a check, if there is one with this ID. A probe that is under way
// only for it is cancelled. After Remove has returned no change of it is told, save one
// that OnChange has been called with already: Remove does not wait for OnChange,
// and may be called by it.
func (m *Monitor) Remove(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one, ok := m.checks[id]
	if !ok {
		return
	}
	delete(m.checks, id)
	m.dismiss(one)
	if m.notify != nil {
		m.notify.forget(one)
	}
}

// Snapshot is the status of all checks by their ID.
func (m *Monitor) Snapshot() map[string]Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]Status, len(m.checks))
	for id, one := range m.checks {
		all[id] = one.status()
	}
	return all
}

// Status is the status of one check; false if there is none with this ID.
func (m *Monitor) Status(id string) (Status, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one, ok := m.checks[id]
	if !ok {
		return Status{}, false
	}
	return one.status(), true
}

// Load is how many probes there are, and whether this process can keep up.
func (m *Monitor) Load() Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	load := Load{Checks: len(m.checks), Probes: m.probes, Starved: m.hunger.times, StarvedFor: m.hunger.total}
	if m.loop != nil {
		load.Running, load.Waiting = m.loop.working, m.loop.queue.n
	}
	return load
}

// Run probes until ctx ends. Then it cancels all probes, waits for them, delivers
// the changes that are left, and returns nil. What is known of the checks stays,
// and Run may be called again.
//
// It is an error if it runs already (ErrRunning), or if Probers take no notice of
// their context for 10 s after it has ended (context.DeadlineExceeded).
func (m *Monitor) Run(ctx context.Context) error { return m.run(ctx) }
