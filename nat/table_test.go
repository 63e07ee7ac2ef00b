package nat

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// texts are rules as they are written.
func texts(list []Rule) (out []string) {
	for _, r := range normal(list) {
		out = append(out, r.String())
	}
	return out
}

// holds wants a kernel to have these rules, in any order.
func (k *fakeKernel) holds(t *testing.T, when string, lines ...string) {
	t.Helper()
	got, want := texts(k.has()), texts(rules(t, lines...))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the kernel has %q, want %q", when, got, want)
	}
}

// wantsKept wants that Run would keep these rules.
func wantsKept(t *testing.T, table *Table, when string, lines ...string) {
	t.Helper()
	var got []string
	if table.want != nil {
		got = texts(table.want.rules())
	}
	want := texts(rules(t, lines...))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: wanted is %q, want %q", when, got, want)
	}
}

func TestApplyThatFailsChangesNothing(t *testing.T) {
	k := &fakeKernel{}
	table := fakeTable(t, k, Config{})
	no := errors.New("no")
	k.writeErrs = []error{no}
	changes, err := table.Apply(t.Context(), rules(t, ruleWeb))
	var op *OpError
	if !errors.As(err, &op) || op.Op != "apply" || !errors.Is(err, no) || changes != nil {
		t.Errorf("%v, %v", changes, err)
	}
	wantsKept(t, table, "after the first one failed")
	_, err = table.Apply(t.Context(), rules(t, ruleWeb))
	fine(t, err)
	for _, spoil := range []func(){func() { k.readErrs = []error{no} }, func() { k.writeErrs = []error{no} }} {
		spoil()
		if changes, err := table.Apply(t.Context(), rules(t, ruleDNS)); !errors.Is(err, no) || changes != nil {
			t.Errorf("%v, %v", changes, err)
		}
		wantsKept(t, table, "after another failed", ruleWeb)
	}
	if _, err := table.Apply(t.Context(), []Rule{{}}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("an invalid rule: %v", err)
	}
	k.holds(t, "at last", ruleWeb)
	wantsKept(t, table, "at last", ruleWeb)
}

func TestApplyWritesOnlyWhatIsNeeded(t *testing.T) {
	k := &fakeKernel{}
	table := fakeTable(t, k, Config{})
	for _, tt := range []struct {
		name    string
		before  func()
		want    string
		changes string
		writes  int
	}{
		{"nothing of nothing", func() {}, "", "", 0},
		{"the first", func() {}, ruleWeb, "+", 1},
		{"the same", func() {}, ruleWeb, "", 0},
		{"the same where it is not sound", func() { k.unsound = true }, ruleWeb, "", 1},
		{"others meanwhile", func() { k.meanwhile = func(k *fakeKernel) { k.rules = nil } }, ruleDNS, "+", 2},
		{"none", func() {}, "", "-", 1},
	} {
		tt.before()
		k.writes = 0
		dry, err := table.Plan(t.Context(), ruleList(t, tt.want))
		fine(t, err)
		if k.writes != 0 {
			t.Errorf("%s: Plan writes", tt.name)
		}
		changes, err := table.Apply(t.Context(), ruleList(t, tt.want))
		fine(t, err)
		var ops strings.Builder
		for _, c := range changes {
			ops.WriteString(c.String()[:1])
		}
		if ops.String() != tt.changes || k.writes != tt.writes || tt.writes < 2 && !slices.Equal(dry, changes) {
			t.Errorf("%s: %d writes of %v, planned were %v", tt.name, k.writes, changes, dry)
		}
	}
	// For ever it is not tried.
	for range attempts {
		k.writeErrs = append(k.writeErrs, errChanged)
	}
	if _, err := table.Apply(t.Context(), rules(t, ruleWeb)); !errors.Is(err, errChanged) {
		t.Errorf("others write all the time: %v", err)
	}
}

func TestAddAndRemove(t *testing.T) {
	k := &fakeKernel{}
	table := fakeTable(t, k, Config{})
	const rival = "dnat rival: tcp destination 12.0.0.1:80 to 10.0.0.2:80"
	no := errors.New("no")
	for _, tt := range []struct {
		name       string
		before     func()
		add        string
		remove     string
		err        error
		have, want string
	}{
		{"a failure is not wanted", func() { k.writeErrs = []error{no} }, ruleWeb, "", no, "", ""},
		{"a rule", func() {}, ruleWeb, "", nil, ruleWeb, ruleWeb},
		{"twice", func() {}, ruleWeb, "", fs.ErrExist, ruleWeb, ruleWeb},
		{"the same port", func() {}, rival, "", fs.ErrExist, ruleWeb, ruleWeb},
		{"one that is there and one that is not", func() {}, "", ruleWeb + ";" + ruleDNS, fs.ErrNotExist, ruleWeb, ruleWeb},
		{"a failure goes on being wanted", func() { k.writeErrs = []error{no} }, "", ruleWeb, no, ruleWeb, ruleWeb},
		{"others took a rule", func() { k.rules = nil }, ruleDNS, "", nil, ruleDNS, ruleWeb + ";" + ruleDNS},
		{"what others took is no more wanted", func() {}, "", ruleWeb, fs.ErrNotExist, ruleDNS, ruleDNS},
		{"it comes again", func() {}, ruleWeb, "", nil, ruleDNS + ";" + ruleWeb, ruleDNS + ";" + ruleWeb},
		{"a rival of what others took", func() { k.rules = rules(t, ruleDNS) }, rival, "", nil, ruleDNS + ";" + rival, ruleDNS + ";" + rival},
		{"what others took comes back", func() { k.rules = rules(t, rival) }, ruleDNS, "", nil, rival + ";" + ruleDNS, rival + ";" + ruleDNS},
		{"where it is not sound", func() { k.unsound = true }, ruleOut, "", nil, rival + ";" + ruleDNS + ";" + ruleOut, rival + ";" + ruleDNS + ";" + ruleOut},
		{"others meanwhile", func() { k.meanwhile = func(k *fakeKernel) { k.rules = rules(t, rival, ruleOut) } }, "", ruleOut, nil, rival, rival + ";" + ruleDNS},
	} {
		tt.before()
		var err error
		if tt.add != "" {
			err = table.Add(t.Context(), ruleList(t, tt.add)...)
		} else {
			err = table.Remove(t.Context(), ruleList(t, tt.remove)...)
		}
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		split := func(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == ';' }) }
		k.holds(t, tt.name, split(tt.have)...)
		wantsKept(t, table, tt.name, split(tt.want)...)
		if table.want != nil {
			if _, err := Plan(nil, table.want.rules()); err != nil {
				t.Errorf("%s: what is wanted can not be: %v", tt.name, err)
			}
		}
	}
	writes := k.writes
	fine(t, table.Add(t.Context()))
	fine(t, table.Remove(t.Context()))
	if k.writes != writes {
		t.Error("nothing is written")
	}
	fine(t, table.Clear(t.Context()))
	fine(t, table.Clear(t.Context()))
	wantsKept(t, table, "cleared")
	if k.clears != 1 {
		t.Errorf("cleared %d times", k.clears)
	}
}

func TestConntrackIsAskedWhenNeeded(t *testing.T) {
	k := &fakeKernel{flows: 7}
	table := fakeTable(t, k, Config{})
	asked := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, s := range k.asked {
			text := s.protocol.String()
			if s.all {
				text += " all"
			}
			got = append(got, text)
		}
		k.asked = nil
		if !slices.Equal(got, want) {
			t.Errorf("%s: asked for %q, want %q", when, got, want)
		}
	}
	apply := func(lines ...string) error {
		_, err := table.Apply(t.Context(), rules(t, lines...))
		return err
	}
	busy := errors.New("no room")
	fine(t, table.Add(t.Context(), rules(t, ruleWeb)...))
	asked("a rule of TCP")
	fine(t, apply(ruleDNS))
	asked("the first Apply", "udp all")
	fine(t, apply(ruleDNS, ruleWeb))
	asked("nothing of UDP")
	fine(t, apply(ruleWeb, ruleOut))
	asked("a rule of UDP goes", "0")
	k.forgetErrs = []error{busy, busy}
	if err := table.Remove(t.Context(), rules(t, ruleOut)...); !errors.Is(err, busy) || !strings.Contains(err.Error(), "stale") {
		t.Errorf("conntrack fails: %v", err)
	}
	k.holds(t, "conntrack fails", ruleWeb)
	asked("it fails", "0")
	if err := apply(); !errors.Is(err, busy) {
		t.Errorf("conntrack fails: %v", err)
	}
	asked("it fails", "0")
	f := flowOf(t, "udp 10.0.0.5:1 > 9.9.9.9:53 as 12.0.0.1:1 > 9.9.9.9:53")
	fine(t, apply(ruleWeb))
	if len(k.asked) != 1 || !k.asked[0].is(&f) {
		t.Error("what is owed is not asked for with a change that does not concern it")
	}
	asked("what is owed", "0")
	fine(t, apply())
	asked("nothing is owed any more")
	k.forgetErrs = []error{errors.ErrUnsupported}
	if err := apply(ruleDNS); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("conntrack can not be asked: %v", err)
	}
	fine(t, apply(ruleDNS, ruleWeb))
	asked("what can never be is not owed", "udp")
	fine(t, table.Clear(t.Context()))
	asked("cleared", "udp")
	if n := table.Stats().ForgottenFlows; n != 7*7 {
		t.Errorf("%d flows were forgotten", n)
	}
}

// What conntrack could not forget, Run sees to.
func TestRunPaysWhatIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		table, r, stop := running(t, k, Config{}, ruleDNS)
		busy := errors.New("no room")
		k.others(func(k *fakeKernel) { k.asked, k.forgetErrs = nil, []error{busy, busy} })
		if _, err := table.Apply(t.Context(), nil); !errors.Is(err, busy) {
			t.Errorf("Apply: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		got := r.take()
		if len(got) != 1 || !errors.Is(got[0].err, busy) || len(got[0].changes) > 0 {
			t.Errorf("told %v", got)
		}
		if n := get(k, func(k *fakeKernel) int { return len(k.asked) }); n != 3 {
			t.Errorf("asked %d times", n)
		}
		fine(t, stop())
	})
}

func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{slow: time.Second}
		table := fakeTable(t, k, Config{})
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := table.List(ended); !errors.Is(err, context.Canceled) || k.reads > 0 {
			t.Errorf("an ended context: %v", err)
		}
		go table.List(t.Context())
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := table.Apply(short, nil)
		var op *OpError
		if !errors.As(err, &op) || op.Op != "apply" || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Millisecond {
			t.Errorf("while another call is under way: %v after %v", err, time.Since(start))
		}
		// Close waits for what is under way.
		go table.Apply(t.Context(), rules(t, ruleWeb))
		synctest.Wait()
		fine(t, table.Close())
		k.holds(t, "closed", ruleWeb)
	})
}

func TestClosed(t *testing.T) {
	k := &fakeKernel{}
	table := fakeTable(t, k, Config{Name: "x"})
	fine(t, table.Close())
	fine(t, table.Close())
	_, listed := table.List(t.Context())
	_, planned := table.Plan(t.Context(), nil)
	_, applied := table.Apply(t.Context(), nil)
	for op, err := range map[string]error{
		"list": listed, "plan": planned, "apply": applied, "add": table.Add(t.Context(), rules(t, ruleWeb)...),
		"remove": table.Remove(t.Context()), "clear": table.Clear(t.Context()), "run": table.Run(t.Context()),
	} {
		var e *OpError
		if !errors.Is(err, net.ErrClosed) || !errors.As(err, &e) || e.Op != op {
			t.Errorf("%s: %v", op, err)
		}
	}
	if table.Name() != "x" || table.Backend() != NFTables || table.Stats() != (Stats{}) || k.closes != 1 || k.reads > 0 {
		t.Error("what needs no kernel is gone, or the kernel was asked")
	}
}
