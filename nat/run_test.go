package nat

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// told is what OnRepair was told.
type told struct {
	mu      sync.Mutex // guards reports
	reports []report
	start   time.Time
}

type report struct {
	after   time.Duration
	changes []string
	err     error
}

func (r *told) onRepair(changes []Change, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := report{after: time.Since(r.start), err: err}
	for _, c := range changes {
		one.changes = append(one.changes, c.String())
	}
	r.reports = append(r.reports, one)
}

func (r *told) take() []report {
	r.mu.Lock()
	defer r.mu.Unlock()
	reports := r.reports
	r.reports = nil
	return reports
}

const (
	ruleWeb = "dnat web: tcp destination 12.0.0.1:80 to 10.0.0.1:80"
	ruleDNS = "dnat dns: udp destination 12.0.0.1:53 to 10.0.0.1:53"
	ruleOut = "masquerade: source 10.0.0.0/8 out eth1"
)

// running starts Run of a new Table with rules. stop ends it and gives its error.
func running(t *testing.T, k *fakeKernel, cfg Config, lines ...string) (table *Table, r *told, stop func() error) {
	t.Helper()
	r = &told{start: time.Now()}
	cfg.OnRepair = r.onRepair
	table = fakeTable(t, k, cfg)
	if len(lines) > 0 {
		_, err := table.Apply(t.Context(), rules(t, lines...))
		fine(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- table.Run(ctx) }()
	synctest.Wait()
	return table, r, func() error {
		cancel()
		return <-ended
	}
}

func fine(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantReports compares all that was told since the last time.
func wantReports(t *testing.T, r *told, want ...[]string) {
	t.Helper()
	synctest.Wait()
	got := r.take()
	same := slices.EqualFunc(got, want, func(g report, w []string) bool { return g.err == nil && slices.Equal(g.changes, w) })
	if !same {
		t.Errorf("told %v, want %v", got, want)
	}
}

func TestRunPutsBackExactlyWhatIsMissing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*fakeKernel)
		want  []string
	}{
		{"all of it", func(k *fakeKernel) { k.there, k.rules = false, nil }, []string{"+ " + ruleWeb, "+ " + ruleDNS, "+ " + ruleOut}},
		{"one rule", func(k *fakeKernel) { k.rules = slices.Delete(k.rules, 1, 2) }, []string{"+ " + ruleDNS}},
		{"a rule that is changed", func(k *fakeKernel) { k.rules[0] = ruleOf(t, "dnat web: tcp destination 12.0.0.1:80 to 10.0.0.9:80") }, []string{
			"- dnat web: tcp destination 12.0.0.1:80 to 10.0.0.9", "+ " + ruleWeb,
		}},
		{"a rule that is not ours", func(k *fakeKernel) { k.rules = append(k.rules, ruleOf(t, "masquerade: ipv4 out eth9")) }, []string{"- masquerade: ipv4 out eth9"}},
		{"what is no rule", func(k *fakeKernel) { k.unsound = true }, nil},
		{"another order", func(k *fakeKernel) { slices.Reverse(k.rules) }, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := &fakeKernel{}
			_, r, stop := running(t, k, Config{}, ruleWeb, ruleDNS, ruleOut)
			wantReports(t, r)
			k.others(tt.spoil)
			time.Sleep(settle - time.Millisecond)
			wantReports(t, r)
			time.Sleep(2 * time.Millisecond)
			for i, c := range tt.want {
				tt.want[i] = string(c[0]) + " " + ruleOf(t, c[2:]).String()
			}
			if tt.name == "another order" { // which does not matter here
				wantReports(t, r)
			} else {
				wantReports(t, r, tt.want)
			}
			have := k.has()
			if changes, err := Plan(have, rules(t, ruleWeb, ruleDNS, ruleOut)); err != nil || len(changes) > 0 || k.unsound {
				t.Errorf("%s: %v is there: %v", tt.name, have, err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func ruleOf(t testing.TB, text string) Rule {
	r := rules(t, text)[0]
	r.normalize()
	return r
}

// What happened before Run, and what is not ours, is found too or left alone.
func TestRunBeginsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{there: true, rules: rules(t, ruleWeb)}
		table, r, stop := running(t, k, Config{})
		k.others(func(k *fakeKernel) { k.rules = nil })
		time.Sleep(time.Hour)
		wantReports(t, r) // nothing was wanted yet
		if n := get(k, func(k *fakeKernel) int { return k.reads }); n > 0 {
			t.Errorf("it read %d times before anything was wanted", n)
		}
		fine(t, table.Add(t.Context(), rules(t, ruleDNS)...))
		k.others(func(k *fakeKernel) { k.rules = nil })
		time.Sleep(time.Second)
		wantReports(t, r, []string{"+ " + ruleDNS[:len(ruleDNS)-3]})
		fine(t, table.Clear(t.Context()))
		k.others(func(k *fakeKernel) { k.there, k.rules = true, rules(t, ruleOut) })
		time.Sleep(time.Hour)
		wantReports(t, r)
		if err := stop(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := get(k, func(k *fakeKernel) int { return len(k.tell) + k.closes }); n != 0 {
			t.Error("something listens after the end, or the backend is closed")
		}
		// And again.
		_, err := table.Apply(t.Context(), rules(t, ruleWeb))
		fine(t, err)
		k.others(func(k *fakeKernel) { k.rules = nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		fine(t, table.Run(ctx))
		wantReports(t, r, []string{"+ " + ruleOf(t, ruleWeb).String()})
	})
}

func TestRunTriesAgainWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		table, r, stop := running(t, k, Config{}, ruleWeb)
		no := errors.New("the kernel says no")
		r.start = time.Now()
		k.others(func(k *fakeKernel) {
			k.rules = nil
			for range 12 {
				k.writeErrs = append(k.writeErrs, no)
			}
		})
		time.Sleep(10 * time.Minute)
		var at []time.Duration
		for i, got := range r.take() {
			at = append(at, got.after.Round(time.Second))
			if len(got.changes) != 1 || (i < 12) != errors.Is(got.err, no) {
				t.Errorf("try %d: %v", i, got)
			}
		}
		s := time.Second
		if want := []time.Duration{0, 1 * s, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s, 8 * s, 12 * s, 20 * s, 36 * s, 68 * s, 128 * s}; !slices.Equal(at, want) {
			t.Errorf("tried after %v, want %v", at, want)
		}
		if got := table.Stats(); got.Repairs != 1 || got.FailedRepairs != 12 {
			t.Errorf("%+v", got)
		}
		if len(k.has()) != 1 {
			t.Error("it is not put back in the end")
		}
		fine(t, stop())
	})
}

// A kernel that is read with errors is as one that says no.
func TestRunReadsWithErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		_, r, stop := running(t, k, Config{}, ruleWeb)
		k.others(func(k *fakeKernel) { k.rules, k.readErrs = nil, []error{fs.ErrPermission} })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		got := r.take()
		if len(got) != 2 || !errors.Is(got[0].err, fs.ErrPermission) || got[0].changes != nil || got[1].err != nil || len(got[1].changes) != 1 {
			t.Errorf("told %v", got)
		}
		fine(t, stop())
	})
}

// Others may change theirs all the time, also where the backend tells of that.
func TestRunInAStorm(t *testing.T) {
	for _, slow := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			k := &fakeKernel{slow: slow}
			_, r, stop := running(t, k, Config{}, ruleWeb)
			before := get(k, func(k *fakeKernel) int { return k.reads })
			for range 20 * 60 {
				time.Sleep(50 * time.Millisecond)
				k.others(func(*fakeKernel) {})
			}
			reads := get(k, func(k *fakeKernel) int { return k.reads }) - before
			if busy := time.Duration(reads) * slow; busy > 2*time.Second || reads > 150 || reads < 10 {
				t.Errorf("a read takes %v: %d reads in a minute", slow, reads)
			}
			wantReports(t, r)
			k.others(func(k *fakeKernel) { k.rules = nil })
			for range 40 {
				time.Sleep(50 * time.Millisecond)
				k.others(func(*fakeKernel) {})
			}
			wantReports(t, r, []string{"+ " + ruleOf(t, ruleWeb).String()})
			fine(t, stop())
		})
	}
}

// Two programs of one name take turns for ever, but slower and slower, and say so.
func TestTwoTablesOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		_, a, stopA := running(t, k, Config{}, ruleWeb)
		_, b, stopB := running(t, k, Config{}, ruleDNS)
		time.Sleep(time.Hour)
		before := get(k, func(k *fakeKernel) int { return k.writes })
		time.Sleep(time.Hour)
		if n := get(k, func(k *fakeKernel) int { return k.writes }) - before; n > 150 || n < 50 {
			t.Errorf("%d repairs in an hour", n)
		}
		synctest.Wait()
		for _, r := range [][]report{a.take(), b.take()} {
			if len(r) < 100 {
				t.Fatalf("only %d repairs were told", len(r))
			}
			for i, one := range r {
				if errors.Is(one.err, ErrContested) != (i >= repairsAtOnce) || len(one.changes) != 2 {
					t.Errorf("repair %d: %v", i, one)
				}
			}
		}
		fine(t, stopA())
		// The other has won.
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		b.take()
		k.others(func(k *fakeKernel) { k.rules = nil })
		time.Sleep(time.Second)
		wantReports(t, b, []string{"+ " + ruleOf(t, ruleDNS).String()})
		fine(t, stopB())
	})
}

func TestCloseWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		table := fakeTable(t, k, Config{})
		ended := make(chan error)
		go func() { ended <- table.Run(t.Context()) }()
		synctest.Wait()
		if err := table.Run(t.Context()); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second Run: %v", err)
		}
		fine(t, table.Close())
		fine(t, table.Close())
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
		if err := table.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Run after it: %v", err)
		}
		if n := get(k, func(k *fakeKernel) int { return k.closes }); n != 1 {
			t.Errorf("the backend was closed %d times", n)
		}
	})
}

// A slow OnRepair delays no repair, and has all told in order before Run returns. It
// may close the Table.
func TestSlowOnRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		var table *Table
		var calls []int
		table = fakeTable(t, k, Config{OnRepair: func(c []Change, _ error) {
			time.Sleep(time.Hour)
			calls = append(calls, len(c))
			if len(calls) == 3 {
				fine(t, table.Close())
			}
		}})
		_, err := table.Apply(t.Context(), rules(t, ruleWeb, ruleDNS, ruleOut))
		fine(t, err)
		ended := make(chan error)
		go func() { ended <- table.Run(t.Context()) }()
		for n := range 3 {
			synctest.Wait()
			k.others(func(k *fakeKernel) { k.rules = k.rules[:n] })
			time.Sleep(time.Second)
			if len(k.has()) != 3 {
				t.Fatalf("repair %d has to wait", n)
			}
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) || !slices.Equal(calls, []int{3, 2, 1}) {
			t.Errorf("Run ended with %v, OnRepair was told of %v", err, calls)
		}
	})
}

// Where the kernel can not be listened to, it is asked.
func TestWatchFails(t *testing.T) {
	broken := errors.New("no room for news")
	for _, tt := range []struct {
		name string
		errs []error
		// After a day.
		listens bool
	}{
		{"never", []error{errors.ErrUnsupported}, false},
		{"for some time", []error{broken, broken, broken, broken}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := &fakeKernel{watchErrs: tt.errs}
			_, r, stop := running(t, k, Config{Interval: 2 * time.Second}, ruleWeb)
			for range 3 {
				time.Sleep(20 * time.Minute)
				k.others(func(k *fakeKernel) { k.rules = nil })
				time.Sleep(2*time.Second + settle + time.Millisecond)
				wantReports(t, r, []string{"+ " + ruleOf(t, ruleWeb).String()})
			}
			if n := get(k, func(k *fakeKernel) int { return len(k.tell) }); (n == 1) != tt.listens {
				t.Errorf("%s: %d listen", tt.name, n)
			}
			fine(t, stop())
		})
	}
}

// Calls of all kinds while Run repairs: nothing is lost that was wanted.
func TestCallsWhileRunning(t *testing.T) {
	k := &fakeKernel{}
	table := fakeTable(t, k, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	var beside sync.WaitGroup
	beside.Go(func() {
		if err := table.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	_, err := table.Apply(ctx, rules(t, ruleWeb))
	fine(t, err)
	var calls sync.WaitGroup
	for i := range 8 {
		r := ruleOf(t, ruleDNS)
		r.DestinationPort = Port(uint16(1000 + i))
		calls.Go(func() {
			for range 50 {
				if err := table.Add(ctx, r); err != nil {
					t.Error(err)
				}
				if _, err := table.List(ctx); err != nil {
					t.Error(err)
				}
				if err := table.Remove(ctx, r); err != nil {
					t.Error(err)
				}
			}
			if err := table.Add(ctx, r); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if n := len(k.has()); n != 9 {
		t.Errorf("%d rules are there, want 9", n)
	}
	k.others(func(k *fakeKernel) { k.rules = nil })
	for deadline := time.Now().Add(10 * time.Second); len(k.has()) != 9; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the rules are not put back")
		}
	}
	cancel()
	beside.Wait()
}
