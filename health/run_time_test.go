package health

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRunKeepsTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, exact, jittery := start(t, Config{}), &fake{takes: 300 * ms}, &fake{}
		w.set("exact", Check{Prober: exact, Interval: 500 * ms, Jitter: -1})
		w.set("jittery", Check{Prober: jittery, Interval: time.Second})
		time.Sleep(time.Minute)
		calls := exact.times()
		for n := range calls[1:] {
			if gap := calls[n+1].Sub(calls[n]); (gap - 500*ms).Abs() > roundLeast {
				t.Errorf("%v between two probes", gap)
			}
		}
		calls = jittery.times()
		even := 0
		for n := range calls[1:] {
			gap := calls[n+1].Sub(calls[n])
			if gap < 900*ms || gap > 1100*ms {
				t.Errorf("%v between two probes, with 10%% jitter", gap)
			}
			if gap == time.Second {
				even++
			}
		}
		if even > 5 || len(calls) < 50 {
			t.Errorf("%d probes, %d of them without jitter", len(calls), even)
		}
	})
}

func TestRunHasIntervalsByState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := start(t, Config{}), &fake{err: errDead}
		w.set("web", Check{Prober: f, Interval: 10 * time.Second, DownInterval: 3 * time.Second, RetryInterval: time.Second, Rise: 2, Jitter: -1})
		time.Sleep(3500 * ms) // down, and a second one
		f.answer(nil)
		time.Sleep(10 * time.Second)
		var gaps []time.Duration
		calls := f.times()
		for n := range calls[1:] {
			gaps = append(gaps, calls[n+1].Sub(calls[n]))
		}
		if len(gaps) != 3 || gaps[0] != 3*time.Second || gaps[1] != 3*time.Second || gaps[2] != time.Second {
			t.Errorf("between probes are %v", gaps)
		}
		if got := w.told(); got != "web:down web:up " {
			t.Errorf("told %q", got)
		}
	})
}

// A probe that takes longer than its interval is followed by the next at once; it
// never runs twice.
func TestRunLongProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := start(t, Config{}), &fake{takes: 3 * time.Second}
		w.set("web", Check{Prober: f, Interval: time.Second, Timeout: 4 * time.Second, Jitter: -1})
		time.Sleep(30 * time.Second)
		calls := f.times()
		for n := range calls[1:] {
			if gap := calls[n+1].Sub(calls[n]); gap != 3*time.Second {
				t.Errorf("%v between two probes", gap)
			}
		}
		if len(calls) < 10 {
			t.Errorf("%d probes", len(calls))
		}
	})
}

func TestRunEndsProbesAtTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := start(t, Config{}), &fake{takes: time.Hour}
		w.set("web", Check{Prober: f, Interval: 2 * time.Second, Timeout: 1500 * ms, Jitter: -1})
		time.Sleep(time.Second)
		if s, _ := w.Status("web"); s.Running.IsZero() || s.State != Unknown {
			t.Errorf("while it is under way: %+v", s)
		}
		time.Sleep(time.Second)
		s, _ := w.Status("web")
		if s.State != Down || !errors.Is(s.Err, context.DeadlineExceeded) || s.Duration != 1500*ms || !s.Running.IsZero() {
			t.Errorf("after the timeout: %+v", s)
		}
	})
}

// A Prober that takes no notice of its context holds up nobody else, is seen, and
// makes its check unknown by MaxAge.
func TestRunWithAProberThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, free := start(t, Config{Probes: 2}), &fake{}, make(chan struct{})
		hang := false
		w.set("hangs", Check{Interval: time.Second, MaxAge: 5 * time.Second, Prober: ProberFunc(func(context.Context) (Report, error) {
			if hang {
				<-free
			}
			hang = true
			return Report{}, nil
		})})
		w.set("other", Check{Prober: f, Interval: time.Second, Jitter: -1})
		time.Sleep(time.Minute)
		if n := len(f.times()); n < 59 {
			t.Errorf("the other was probed %d times in a minute", n)
		}
		s, _ := w.Status("hangs")
		if s.State != Unknown || time.Since(s.Running) < 50*time.Second {
			t.Errorf("what hangs is %+v", s)
		}
		if got := w.told(); got != "hangs:up other:up hangs:unknown " && got != "other:up hangs:up hangs:unknown " {
			t.Errorf("told %q", got)
		}
		began := time.Now()
		err := w.stop()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 probe") || time.Since(began) != joinMost {
			t.Errorf("Run ended after %v with %v", time.Since(began), err)
		}
		close(free)
	})
}

func TestRunMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := start(t, Config{}), &fake{}
		w.set("web", Check{Prober: f, Interval: time.Second, MaxAge: 10 * time.Second})
		time.Sleep(5 * time.Second)
		f.answer(inconclusive(errDead))
		time.Sleep(8 * time.Second)
		if s, _ := w.Status("web"); s.State != Up || s.Inconclusive == nil || s.Stats.Inconclusive < 7 {
			t.Errorf("inconclusive results have changed the state, or are not seen: %+v", s)
		}
		time.Sleep(4 * time.Second)
		if s, _ := w.Status("web"); s.State != Unknown {
			t.Errorf("after MaxAge: %+v", s)
		}
		f.answer(nil)
		time.Sleep(2 * time.Second)
		if got := w.told(); got != "web:up web:unknown web:up " {
			t.Errorf("told %q", got)
		}
		w.set("hopeful", Check{Prober: &fake{err: inconclusive(errDead)}, Initial: Up, Interval: time.Second, MaxAge: 3 * time.Second})
		time.Sleep(3500 * ms)
		if s, _ := w.Status("hopeful"); s.State != Unknown {
			t.Errorf("an initial state has no age: %+v", s)
		}
	})
}

// A check that gets no place within its timeout is inconclusive.
func TestRunWithoutPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{Probes: 1})
		slow := &fake{takes: 900 * ms}
		for _, id := range []string{"a", "b", "c", "d"} {
			w.set(id, Check{Prober: slow, Interval: time.Second, Fall: 1})
		}
		time.Sleep(time.Minute)
		total := Stats{}
		for id, s := range w.Snapshot() {
			if s.State != Up || s.Stats.Failed > 0 || s.Stats.Passed < 5 {
				t.Errorf("%s: %+v", id, s)
			}
			total.Passed += s.Stats.Passed
			total.Inconclusive += s.Stats.Inconclusive
		}
		if total.Inconclusive < 30 || total.Passed < 64 {
			t.Errorf("%d passed, %d had no place, in a minute of probes that take 900 ms", total.Passed, total.Inconclusive)
		}
		calls := slow.times()
		for n := range calls[1:] {
			if gap := calls[n+1].Sub(calls[n]); gap < 900*ms {
				t.Fatalf("two probes at once: %v after the other", gap)
			}
		}
	})
}

// What was starved is not older for it.
func TestRunMaxAgeIsWithoutStarvation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := start(t, Config{}), &fake{}
		w.set("web", Check{Prober: f, Interval: time.Second, MaxAge: 3 * time.Second})
		time.Sleep(500 * ms)
		f.answer(inconclusive(errDead))
		time.Sleep(2 * time.Second)
		w.starved(2 * time.Second)
		time.Sleep(2 * time.Second)
		if s, _ := w.Status("web"); s.State != Up {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Second)
		if s, _ := w.Status("web"); s.State != Unknown {
			t.Errorf("%+v", s)
		}
	})
}

// That a Prober ends late is not the process's lateness: neither at the end of Run, nor
// while a script is killed.
func TestLateProbersAreNotStarvation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{})
		w.set("script", Check{Timeout: time.Second, Prober: ProberFunc(func(ctx context.Context) (Report, error) {
			<-ctx.Done()
			time.Sleep(2500 * ms)
			return Report{}, ctx.Err()
		})})
		time.Sleep(4 * time.Second)
		if s, _ := w.Status("script"); s.State != Down || s.Duration != 3500*ms {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Second)
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if load := w.Load(); load.Starved > 0 {
			t.Errorf("%+v", load)
		}
	})
}

func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{Probes: 2})
		for _, id := range []string{"a", "b", "c", "d"} {
			w.set(id, Check{Prober: &fake{takes: time.Hour}, Timeout: time.Hour})
		}
		w.set("e", Check{Prober: &fake{takes: time.Hour}, Key: "k", Interval: time.Hour, Timeout: time.Hour, Initial: Up})
		w.set("f", Check{Prober: &fake{takes: time.Hour}, Key: "k", Interval: time.Hour, Timeout: time.Hour})
		w.Remove("d")
		time.Sleep(time.Second)
		if load := w.Load(); load != (Load{Checks: 5, Probes: 4, Running: 2, Waiting: 2}) {
			t.Errorf("%+v", load)
		}
		w.set("f", Check{Prober: &fake{}, Key: "l"})
		w.Remove("e")
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if load := w.Load(); load != (Load{Checks: 4, Probes: 4}) {
			t.Errorf("%+v", load)
		}
	})
}
