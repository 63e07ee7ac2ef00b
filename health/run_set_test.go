package health

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestEqualKeysShareProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, old, f := start(t, Config{}), &fake{}, &fake{takes: 1500 * ms}
		w.set("slow", Check{Key: "k", Prober: old, Interval: 10 * time.Second, Timeout: 2 * time.Second, Fall: 3, RetryInterval: 10 * time.Second})
		time.Sleep(time.Second)
		w.set("fast", Check{Key: "k", Prober: f, Interval: 4 * time.Second, Timeout: time.Second, Fall: 1, RetryInterval: 3 * time.Second, Jitter: -1})
		time.Sleep(20 * time.Second)
		if n := len(old.times()); n != 1 {
			t.Errorf("the first Prober was called %d times", n)
		}
		calls := f.times()
		for n := range calls[1:] {
			if gap := calls[n+1].Sub(calls[n]); gap != 4*time.Second {
				t.Errorf("%v between two probes, the shortest interval is 4s", gap)
			}
		}
		if got := w.told(); got != "slow:up fast:up " {
			t.Errorf("with the longest timeout 1.5 s are in time: told %q", got)
		}
		f.answer(errDead)
		time.Sleep(7 * time.Second)
		if s, _ := w.Status("fast"); s.State != Down {
			t.Errorf("Fall 1: %+v", s)
		}
		if s, _ := w.Status("slow"); s.State != Up || s.Streak == 0 {
			t.Errorf("Fall 3: %+v", s)
		}
		time.Sleep(7 * time.Second)
		if s, _ := w.Status("slow"); s.State != Down {
			t.Errorf("Fall 3, later: %+v", s)
		}
		w.Remove("fast")
		before := len(f.times())
		time.Sleep(30 * time.Second)
		if n := len(f.times()) - before; n < 2 || n > 4 {
			t.Errorf("%d probes in 30 s, when the one with an interval of 10 s was left", n)
		}
		w.Remove("slow")
		before = len(f.times())
		time.Sleep(time.Minute)
		if n := len(f.times()) - before; n != 0 || len(w.shared) != 0 {
			t.Errorf("%d probes when nobody was left", n)
		}
	})
}

func TestSetKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := start(t, Config{}), &fake{}
		w.set("web", Check{Prober: f, Interval: time.Minute})
		time.Sleep(time.Second)
		before, _ := w.Status("web")
		f.answer(errDead)
		for n, c := range []Check{
			{Prober: f, Interval: 2 * time.Minute},
			{Prober: f, Interval: time.Minute, Key: "shared"},
			{Prober: f, Interval: time.Minute},
			{Prober: f, Interval: time.Minute, Initial: Down, Fall: 2},
		} {
			w.set("web", c)
			if s, _ := w.Status("web"); s != before || s.State != Up {
				t.Errorf("after Set %d: %+v, was %+v", n, s, before)
			}
		}
		time.Sleep(2 * time.Second)
		if s, _ := w.Status("web"); s.State != Down {
			t.Errorf("Fall is 2 now: %+v", s)
		}
		w.set("web", Check{Prober: f, Interval: time.Second})
		calls := len(f.times())
		time.Sleep(10 * time.Second)
		if n := len(f.times()) - calls; n < 8 {
			t.Errorf("%d probes in 10 s, when the interval became 1 s", n)
		}
		if got := w.told(); got != "web:up web:down " {
			t.Errorf("told %q", got)
		}
	})
}

// A Set with an equal Prober lets the probe that is under way go on; one with another cancels
// it, and nothing is concluded from it.
func TestSetReplacesAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first, second := start(t, Config{}), &fake{takes: 30 * time.Second, err: errDead}, &fake{}
		c := Check{Prober: first, Interval: time.Minute, Timeout: time.Minute}
		w.set("web", c)
		time.Sleep(time.Second)
		running, _ := w.Status("web")
		w.set("web", c)
		if s, _ := w.Status("web"); s != running || s.Running.IsZero() {
			t.Errorf("an equal Set has changed %+v to %+v", running, s)
		}
		c.Prober = second
		w.set("web", c)
		time.Sleep(time.Millisecond)
		if s, _ := w.Status("web"); s.State != Up || s.Stats.Failed+s.Stats.Inconclusive > 0 || len(second.times()) != 1 {
			t.Errorf("another Prober: %+v, called %d times", s, len(second.times()))
		}
		if got := w.told(); got != "web:up " {
			t.Errorf("told %q", got)
		}
	})
}

func TestSame(t *testing.T) {
	type list struct {
		ProberFunc
		names []string
	}
	f := &fake{}
	for _, tt := range []struct {
		name string
		a, b Prober
		want bool
	}{
		{"the same pointer", f, f, true},
		{"another pointer", f, &fake{}, false},
		{"equal values", greeting{addr: "a"}, greeting{addr: "a"}, true},
		{"other values", greeting{addr: "a"}, greeting{addr: "b"}, false},
		{"other types", greeting{addr: "a"}, f, false},
		{"functions", passes, passes, false},
		{"what cannot be compared", list{names: []string{"a"}}, list{names: []string{"a"}}, false},
	} {
		if got := same(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestRemoveCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ended := start(t, Config{Probes: 1}), make(chan error, 1)
		w.set("web", Check{Timeout: time.Hour, Prober: ProberFunc(func(ctx context.Context) (Report, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return Report{}, ctx.Err()
		})})
		time.Sleep(time.Second)
		w.set("waits", Check{Prober: &fake{}, Timeout: time.Minute})
		time.Sleep(time.Second)
		w.Remove("web")
		w.Remove("web")
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the probe ended with %v", err)
		}
		time.Sleep(time.Second)
		if got := w.told(); got != "waits:up " {
			t.Errorf("told %q", got)
		}
		if _, ok := w.Status("web"); ok || len(w.Snapshot()) != 1 {
			t.Error("it is still there")
		}
	})
}

// After Remove has returned, OnChange is not called for the check any more; and OnChange may
// itself call the Monitor.
func TestNoChangeAfterRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		var w *world
		w = start(t, Config{OnChange: func(c Change) {
			switch c.ID {
			case "first":
				<-block
				w.Remove("third")
				w.set("fourth", Check{Prober: &fake{}, Interval: time.Second})
			case "second", "third":
				t.Errorf("told of %s, which was removed", c.ID)
			}
		}})
		w.set("first", Check{Prober: &fake{}, Interval: time.Second})
		time.Sleep(time.Second)
		w.set("second", Check{Prober: &fake{}, Interval: time.Second})
		w.set("third", Check{Prober: &fake{}, Interval: time.Second})
		time.Sleep(time.Second)
		if s, _ := w.Status("second"); s.State != Up {
			t.Errorf("a slow OnChange has held up a probe: %+v", s)
		}
		w.Remove("second")
		close(block)
		time.Sleep(time.Second)
		if got := w.told(); got != "first:up fourth:up " {
			t.Errorf("told %q", got)
		}
	})
}

func TestRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		m, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Set("web", Check{Prober: f, Interval: time.Second}); err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			go func() {
				time.Sleep(time.Second)
				if err := m.Run(ctx); !errors.Is(err, ErrRunning) {
					t.Errorf("a second Run: %v", err)
				}
			}()
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			if s, _ := m.Status("web"); s.State != Up || s.Stats.Changes != 1 || s.Stats.Passed < uint64(9*(round+1)) || !s.Running.IsZero() {
				t.Errorf("after round %d: %+v", round, s)
			}
			time.Sleep(time.Hour)
		}
	})
}

// All changes are told before Run returns, in order, and what is cancelled at the
// end is no change.
func TestRunDeliversAllBeforeItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{OnChange: func(Change) { time.Sleep(time.Second) }})
		hangs := &fake{takes: time.Hour}
		for n := range 20 {
			w.set(fmt.Sprint(n), Check{Prober: &fake{}, Interval: time.Second})
			w.set(fmt.Sprint("h", n), Check{Prober: hangs, Timeout: time.Hour})
		}
		time.Sleep(500 * ms)
		began := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 18*time.Second || len(w.changes) != 20 {
			t.Errorf("%d changes told in %v", len(w.changes), took)
		}
		last := time.Time{}
		for _, c := range w.changes {
			if c.Time.Before(last) {
				t.Errorf("%v is told after %v", c.Time, last)
			}
			last = c.Time
		}
	})
}

func TestAProberThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{Probes: 1})
		w.set("web", Check{Interval: time.Second, Prober: ProberFunc(func(context.Context) (Report, error) {
			runtime.Goexit()
			return Report{}, nil
		})})
		w.set("other", Check{Prober: &fake{}, Interval: time.Second})
		time.Sleep(10 * time.Second)
		if s, _ := w.Status("web"); s.State != Unknown || !errors.Is(s.Inconclusive, errGone) || s.Stats.Inconclusive < 5 {
			t.Errorf("%+v", s)
		}
		if s, _ := w.Status("other"); s.Stats.Passed < 5 {
			t.Errorf("the place was not given back: %+v", s)
		}
	})
}

// Ten thousand checks come and go while Run runs, and leave nothing behind.
func TestRunChurn(t *testing.T) {
	var under, most atomic.Int64
	probe := ProberFunc(func(ctx context.Context) (Report, error) {
		most.Store(max(most.Load(), under.Add(1)))
		defer under.Add(-1)
		runtime.Gosched()
		return Report{}, ctx.Err()
	})
	before := runtime.NumGoroutine()
	m, err := New(Config{Probes: 8, OnChange: func(Change) {}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	for n := range 10_000 {
		c := Check{Prober: probe, Interval: 10 * ms}
		if n%3 == 0 {
			c.Key = fmt.Sprint(n % 7)
		}
		for _, id := range []string{fmt.Sprint(n), fmt.Sprint(n % 100)} {
			if err := m.Set(id, c); err != nil {
				t.Fatal(err)
			}
		}
		if n > 50 {
			m.Remove(fmt.Sprint(n - 50))
		}
	}
	for id := range m.Snapshot() {
		m.Remove(id)
	}
	m.mu.Lock()
	if len(m.checks)+len(m.shared)+len(m.loop.due.heap)+m.loop.queue.n+m.loop.fresh > 0 {
		t.Errorf("left: %d checks, %d shared, %d due, %d waiting, %d fresh", len(m.checks), len(m.shared), len(m.loop.due.heap), m.loop.queue.n, m.loop.fresh)
	}
	m.mu.Unlock()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if under.Load() > 0 || most.Load() > 8 {
		t.Errorf("%d probes are under way, at most there were %d, of 8", under.Load(), most.Load())
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(ms) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, before there were %d", runtime.NumGoroutine(), before)
		}
	}
}
