package health

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// errDead is the result of a probe of something that is dead.
var errDead = errors.New("dead")

// fake is a Prober that answers as it is told.
type fake struct {
	mu     sync.Mutex // guards all below
	err    error
	report Report
	calls  []time.Time
	takes  time.Duration
}

func (f *fake) Probe(ctx context.Context) (Report, error) {
	f.mu.Lock()
	f.calls = append(f.calls, time.Now())
	takes := f.takes
	f.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return Report{}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.report, f.err
}

func (f *fake) answer(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fake) times() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time(nil), f.calls...)
}

// world is a Monitor that runs in a bubble.
type world struct {
	*Monitor
	t       *testing.T
	mu      sync.Mutex // guards changes
	changes []Change
	stop    func() error
}

// start runs a Monitor until the end of the test, or stop.
func start(t *testing.T, cfg Config) *world {
	t.Helper()
	w := &world{t: t}
	tell := cfg.OnChange
	cfg.OnChange = func(c Change) {
		w.mu.Lock()
		w.changes = append(w.changes, c)
		w.mu.Unlock()
		if tell != nil {
			tell(c)
		}
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Monitor = m
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = w.stop() })
	return w
}

func (w *world) set(id string, c Check) {
	w.t.Helper()
	if err := w.Set(id, c); err != nil {
		w.t.Fatal(err)
	}
}

// told is the changes so far, as from, to.
func (w *world) told() (s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.changes {
		s += c.ID + ":" + c.To.String() + " "
	}
	return s
}

func TestRunTellsOfDeathAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := start(t, Config{}), &fake{}
		w.set("web", Check{Prober: f, Interval: time.Second, Jitter: -1})
		time.Sleep(10 * time.Second)
		if n := len(f.times()); n < 10 || n > 11 {
			t.Errorf("%d probes in 10 s", n)
		}
		f.answer(errDead)
		time.Sleep(5 * time.Second)
		f.answer(nil)
		time.Sleep(5 * time.Second)
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if got := w.told(); got != "web:up web:down web:up " {
			t.Errorf("told %q", got)
		}
		s, ok := w.Status("web")
		if !ok || s.State != Up || s.Stats.Changes != 3 || s.Stats.Failed != 5 {
			t.Errorf("status is %+v", s)
		}
	})
}
