package vrrp

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// scriptBinder writes down what is called, and does what the test says.
type scriptBinder struct {
	name    string
	acquire func(ctx context.Context) error
	release func(ctx context.Context) error
	log     *binderLog
}

type binderLog struct {
	mu    sync.Mutex // guards calls
	calls []string
}

func (b *binderLog) add(call string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call)
}

// take returns the calls since the last take.
func (b *binderLog) take() string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := strings.Join(b.calls, " ")
	b.calls = nil
	return s
}

func (b *scriptBinder) do(ctx context.Context, op string, f func(context.Context) error) error {
	b.log.add(b.name + op)
	if f == nil {
		return nil
	}
	err := f(ctx)
	b.log.add(b.name + op + ":" + map[bool]string{true: "ok", false: "failed"}[err == nil])
	return err
}

func (b *scriptBinder) Acquire(ctx context.Context) error { return b.do(ctx, "acquire", b.acquire) }

func (b *scriptBinder) Release(ctx context.Context) error  { return b.do(ctx, "release", b.release) }
func (b *scriptBinder) Announce(ctx context.Context) error { return b.do(ctx, "announce", nil) }

func newScriptBinder() (*scriptBinder, *binderLog) {
	l := &binderLog{}
	return &scriptBinder{log: l}, l
}

func expect(t *testing.T, l *binderLog, want string) {
	t.Helper()
	if got := l.take(); got != want {
		t.Errorf("the Binder was called: %q, want %q", got, want)
	}
}

func TestTheBinderHoldsWhileActive(t *testing.T) {
	b, log := newScriptBinder()
	fake(t, Config{Binder: b}, func(f *fakeRun) {
		expect(t, log, "release")
		f.pass(4 * time.Second)
		expect(t, log, "acquire announce")
		if s := f.r.Status(); !s.Held || s.Stats.Announced != 1 {
			t.Errorf("%+v", s)
		}
		f.hear("10.0.0.2", 200, time.Second)
		expect(t, log, "release")
		if f.r.Status().Held {
			t.Error("held after a release")
		}
		f.pass(5 * time.Second)
		expect(t, log, "acquire announce")
		f.hear("10.0.0.2", 50, time.Second) // another claims the addresses
		expect(t, log, "announce")
		cfg := *f.r.config()
		cfg.Addresses = addrs("10.0.0.100", "10.0.0.101")
		if err := f.r.Update(cfg); err != nil {
			t.Error(err)
		}
		expect(t, log, "acquire announce")
		if err := f.stop(); err != nil {
			t.Error(err)
		}
		expect(t, log, "release")
	})
}

func TestASlowBinderDelaysNothing(t *testing.T) {
	b, log := newScriptBinder()
	b.acquire = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Minute):
			return nil
		}
	}
	fake(t, Config{Binder: b}, func(f *fakeRun) {
		f.pass(10 * time.Second)
		expect(t, log, "release acquire")
		if sent := len(f.advertisements()); sent != 7 {
			t.Errorf("%d advertisements, want 7", sent)
		}
		f.hear("10.0.0.2", 200, time.Second)
		expect(t, log, "acquire:failed release")
		if s := f.r.Status(); s.Stats.BinderErrors != 0 || s.BinderErr != nil {
			t.Errorf("an Acquire that was ended counts as failed: %+v", s)
		}
	})
}

func TestABinderThatFailsIsTriedAgain(t *testing.T) {
	b, log := newScriptBinder()
	var fails atomic.Bool
	fails.Store(true)
	b.acquire = func(context.Context) error {
		if fails.Load() {
			return errTest
		}
		return nil
	}
	fake(t, Config{Binder: b}, func(f *fakeRun) {
		f.pass(4 * time.Second) // Active at 3.6, tried then, at 4.6, 6.6
		expect(t, log, "release acquire acquire:failed")
		if e := f.seen(BinderFailed); len(e) != 1 || !errors.Is(e[0].Err, errTest) {
			t.Errorf("events: %+v", e)
		}
		f.pass(2 * time.Second)
		expect(t, log, "acquire acquire:failed")
		fails.Store(false)
		f.pass(time.Second)
		expect(t, log, "acquire acquire:ok announce")
		f.want(Active, ReasonTimeout)
	})
}

func TestABinderThatKeepsFailingLeavesItToTheOthers(t *testing.T) {
	b, log := newScriptBinder()
	b.acquire = func(context.Context) error { return errTest }
	fake(t, Config{Binder: b}, func(f *fakeRun) {
		f.pass(7 * time.Second)
		f.want(Active, ReasonTimeout)
		f.pass(time.Second)
		f.want(Fault, ReasonBinder)
		log.take()
		f.pass(29 * time.Second)
		f.want(Fault, ReasonBinder)
		f.pass(time.Second)
		f.want(Backup, ReasonRecovered)
		expect(t, log, "")
	})
}

func TestAReleaseThatFailsIsTriedAgain(t *testing.T) {
	b, log := newScriptBinder()
	var fails atomic.Bool
	b.release = func(context.Context) error {
		if fails.Load() {
			return errTest
		}
		return nil
	}
	fake(t, Config{Binder: b}, func(f *fakeRun) {
		f.pass(4 * time.Second)
		expect(t, log, "release release:ok acquire announce")
		fails.Store(true)
		f.hear("10.0.0.2", 200, time.Second)
		expect(t, log, "release release:failed")
		if s := f.r.Status(); !s.Held || s.BinderErr == nil {
			t.Errorf("after a failed Release: %+v", s)
		}
		fails.Store(false)
		f.pass(time.Second)
		expect(t, log, "release release:ok")
		if s := f.r.Status(); s.Held || s.BinderErr != nil {
			t.Errorf("after a Release: %+v", s)
		}
	})
}

func TestABinderThatNeverReturns(t *testing.T) {
	b, _ := newScriptBinder()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		b.acquire = func(context.Context) error { <-hang; return nil }
		f := newFake(t, Config{Binder: b})
		f.pass(5 * time.Second)
		f.want(Active, ReasonTimeout)
		began := time.Now()
		if err := f.stop(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		if took := time.Since(began); took != binderPatience {
			t.Errorf("Run took %v to return, want %v", took, binderPatience)
		}
		sent := f.advertisements()
		if last := sent[len(sent)-1]; last.Priority != 0 || last.at != f.now()-binderPatience {
			t.Errorf("it resigned at %v of %v with priority %d", last.at, f.now(), last.Priority)
		}
		close(hang)
		synctest.Wait()
	})
}

func TestAReleaseThatFailsAtTheEnd(t *testing.T) {
	b, _ := newScriptBinder()
	fake(t, Config{Binder: b}, func(f *fakeRun) {
		f.pass(5 * time.Second)
		b.release = func(context.Context) error { return errTest }
		var op *OpError
		if err := f.stop(); !errors.Is(err, errTest) || !errors.As(err, &op) || op.Object != "eth0/51" {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestAnotherBinder(t *testing.T) {
	b, log := newScriptBinder()
	fake(t, Config{Binder: b}, func(f *fakeRun) {
		f.pass(5 * time.Second)
		log.take()
		cfg := *f.r.config()
		cfg.Binder = &scriptBinder{name: "new-", log: log}
		if err := f.r.Update(cfg); err != nil {
			t.Fatal(err)
		}
		expect(t, log, "release new-acquire new-announce")
		f.hear("10.0.0.2", 200, time.Second)
		expect(t, log, "new-release")
	})
}

func TestWhatAPredecessorLeftIsReleasedFirst(t *testing.T) {
	b, _ := newScriptBinder()
	b.release = func(context.Context) error { time.Sleep(5 * time.Second); return nil }
	fake(t, Config{Binder: b}, func(f *fakeRun) {
		f.pass(4 * time.Second)
		f.want(Initialize, 0)
		f.pass(time.Second)
		f.want(Backup, ReasonStart)
	})
}
