package health

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// starved lets a Monitor know that it could do nothing for a while.
func (w *world) starved(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.Monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.hunger.late(now-by, now)
}

// always starves a Monitor until the end of the bubble: it does nothing for late, and
// then something for a while.
func (w *world) always(late, work time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var ending sync.WaitGroup
	ending.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(late + work)
			w.starved(late)
		}
	})
	w.t.Cleanup(func() { cancel(); ending.Wait() })
}

// dead is a Prober of a server that is silent.
var dead = ProberFunc(func(ctx context.Context) (Report, error) {
	<-ctx.Done()
	return Report{}, ctx.Err()
})

// careless is one whose socket has the deadline of the context, and which does not look
// at that otherwise.
var careless = ProberFunc(func(ctx context.Context) (Report, error) {
	deadline, _ := ctx.Deadline()
	time.Sleep(time.Until(deadline))
	return Report{}, os.ErrDeadlineExceeded
})

// The time of a probe is what the process had of it.
func TestRunGivesTimeForStarvation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, slow := start(t, Config{}), &fake{takes: 1500 * ms}
		w.set("slow", Check{Prober: slow, Interval: 10 * time.Second, Jitter: -1})
		w.set("silent", Check{Prober: dead, Interval: 10 * time.Second, Jitter: -1})
		for range 6 {
			time.Sleep(140 * ms)
			w.starved(120 * ms)
		}
		time.Sleep(2 * time.Second)
		if s, _ := w.Status("slow"); s.State != Up || s.Duration != 1500*ms {
			t.Errorf("what answers after 0.78 s in which the process was there: %+v", s)
		}
		if s, _ := w.Status("silent"); s.State != Down || s.Duration != 1720*ms || !errors.Is(s.Err, context.DeadlineExceeded) {
			t.Errorf("what does not answer: %+v", s)
		}
		if load := w.Load(); load.Starved != 6 || load.StarvedFor != 720*ms {
			t.Errorf("%+v", load)
		}
	})
}

// A process that is late by more than a quarter of every timeout finds the dead after Fall
// probes, each of which it gives the time that it was late.
func TestRunFindsTheDeadThoughAlwaysLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := start(t, Config{}), &fake{}
		w.set("web", Check{Prober: f, Interval: 10 * time.Second, Fall: 2, Jitter: -1})
		time.Sleep(9 * time.Second)
		w.always(300*ms, 700*ms)
		f.mu.Lock()
		f.takes = time.Hour
		calls := len(f.calls)
		f.mu.Unlock()
		time.Sleep(6 * time.Second)
		s, _ := w.Status("web")
		if n := len(f.times()) - calls; n != 2 || s.State != Down || s.Stats.Inconclusive > 0 || s.Duration > 1650*ms {
			t.Errorf("after %d probes: %+v", n, s)
		}
	})
}

// Who tells that it only waits for the network gets no more time for that: what the network
// has brought is here when the process is.
func TestRunGivesNoTimeToWait(t *testing.T) {
	for _, tt := range []struct {
		name string
		on   []time.Duration // when something comes
		took time.Duration
	}{
		{"nothing comes", nil, 1000 * ms},
		{"something comes, then nothing", []time.Duration{200 * ms}, 1360 * ms},
		{"something comes again", []time.Duration{200 * ms, 1200 * ms}, 1560 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, Config{})
				begin := make(chan time.Time, 1)
				w.set("web", Check{Prober: ProberFunc(func(ctx context.Context) (Report, error) {
					began := time.Now()
					begin <- began
					asks(ctx)
					for _, at := range tt.on {
						time.Sleep(time.Until(began.Add(at)))
						goesOn(ctx)
					}
					<-ctx.Done()
					return Report{}, ctx.Err()
				}), Interval: time.Minute, Jitter: -1})
				time.Sleep(time.Until((<-begin).Add(50 * ms)))
				w.starved(40 * ms)
				w.always(40*ms, 60*ms)
				time.Sleep(3 * time.Second)
				if s, _ := w.Status("web"); s.State != Down || (s.Duration-tt.took).Abs() > 85*ms {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Who looks at the Deadline alone has to be told a later one, and is believed in the end.
func TestRunConcludesForACarelessProberThoughAlwaysLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{})
		w.set("web", Check{Prober: careless, Interval: time.Second, Timeout: 200 * ms, Jitter: -1})
		w.always(100*ms, 20*ms)
		time.Sleep(3 * time.Second)
		if s, _ := w.Status("web"); s.State != Down || s.Stats.Inconclusive > 1 || s.Duration > 550*ms {
			t.Errorf("%+v", s)
		}
	})
}

// A process that can do hardly anything comes to a conclusion nevertheless, unless single
// latenesses are to blame.
func TestRunWithHardlyAnyProcessor(t *testing.T) {
	for _, tt := range []struct {
		name                string
		timeout, late, took time.Duration
		conclusive          bool
	}{
		{"often late", time.Second, 900 * ms, 10 * time.Second, true},
		{"late for long", 40 * time.Second, 20 * time.Second, 70 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, end := start(t, Config{}), make(chan time.Duration, 1)
				w.set("web", Check{Prober: ProberFunc(func(ctx context.Context) (Report, error) {
					began := time.Now()
					<-ctx.Done()
					end <- time.Since(began)
					return Report{}, ctx.Err()
				}), Timeout: tt.timeout, Interval: time.Hour, Initial: Up, Fall: 1, RetryInterval: time.Minute, Jitter: -1})
				w.always(tt.late, ms)
				time.Sleep(tt.took + time.Second)
				s, _ := w.Status("web")
				ended := <-end
				if (s.State == Down) != tt.conclusive || ended != tt.took {
					t.Errorf("after %v: %+v", ended, s)
				}
				if err := s.Inconclusive; !tt.conclusive && (!errors.Is(err, ErrInconclusive) || !errors.Is(err, context.DeadlineExceeded)) {
					t.Errorf("it does not tell why: %v", err)
				}
			})
		})
	}
}

// What has come in while the process was stopped is read before the time is over.
func TestRunSettlesBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := start(t, Config{}), &fake{takes: 1008 * ms}
		w.set("web", Check{Prober: f, Interval: 10 * time.Second, Jitter: -1})
		for len(f.times()) == 0 {
			time.Sleep(ms)
		}
		time.Sleep(time.Until(f.times()[0].Add(995 * ms)))
		w.starved(6 * ms)
		time.Sleep(time.Second)
		if s, _ := w.Status("web"); s.State != Up || s.Duration != 1008*ms {
			t.Errorf("%+v", s)
		}
	})
}

// A probe that fails for another reason than its time, while the process is starved, is
// repeated, and does not count: its connection may be gone for that.
func TestRunExcusesWhatFailsWhileStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{})
		var late atomic.Int64
		late.Store(int64(300 * ms))
		w.set("web", Check{Prober: ProberFunc(func(ctx context.Context) (Report, error) {
			<-time.After(500 * ms)
			w.starved(time.Duration(late.Load()))
			return Report{}, opError("expect", "10.0.0.1:80", errClosed)
		}), Fall: 1, Initial: Up, RetryInterval: 3 * time.Second, Jitter: -1})
		time.Sleep(time.Second)
		s, _ := w.Status("web")
		if s.State != Up || s.Stats.Failed > 0 || !errors.Is(s.Inconclusive, ErrInconclusive) || !errors.Is(s.Inconclusive, errClosed) {
			t.Errorf("the failure counts: %+v", s)
		}
		late.Store(int64(100 * ms))
		time.Sleep(3 * time.Second)
		if s, _ := w.Status("web"); s.State != Down {
			t.Errorf("100 ms of a second are an excuse: %+v", s)
		}
	})
}

// A refusal is an answer, and true however late it is heard.
func TestRunBelievesRefusalsWhileStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{})
		w.set("web", Check{Prober: ProberFunc(func(ctx context.Context) (Report, error) {
			<-time.After(500 * ms)
			return Report{}, opError("connect", "10.0.0.1:80", syscall.ECONNREFUSED)
		}), Jitter: -1})
		time.Sleep(250 * ms)
		w.starved(300 * ms)
		time.Sleep(time.Second)
		if s, _ := w.Status("web"); s.State != Down {
			t.Errorf("the refusal does not count: %+v", s)
		}
	})
}

// What passes because nothing was heard is as doubtful, unless it had the time.
func TestRunExcusesSilenceThatPassesWhileStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{})
		for id, p := range map[string]Prober{"careless": Not(careless), "gone": Not(dead)} {
			w.set(id, Check{Prober: p, Interval: 10 * time.Second, RetryInterval: 3 * time.Second, Initial: Down, Jitter: -1})
		}
		time.Sleep(500 * ms)
		w.starved(300 * ms)
		time.Sleep(time.Second)
		if s, _ := w.Status("careless"); s.State != Down || !errors.Is(s.Inconclusive, errSilent) {
			t.Errorf("silence counts: %+v", s)
		}
		if s, _ := w.Status("gone"); s.State != Up || s.Duration != 1300*ms {
			t.Errorf("silence for all of its time does not count: %+v", s)
		}
		time.Sleep(4 * time.Second)
		if s, _ := w.Status("careless"); s.State != Up {
			t.Errorf("silence does not count: %+v", s)
		}
	})
}
