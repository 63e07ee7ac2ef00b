package health

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// steps are results: + passed, - failed, ? inconclusive. A digit is a passed one
// that wants this weight; x is MaxAge.
func walk(c Check, steps string) (k known, told string) {
	k.state = c.Initial
	now := time.Unix(0, 0)
	for _, step := range steps {
		now = now.Add(time.Second)
		o := outcome{at: now, took: time.Millisecond}
		switch {
		case step == '-':
			o.err = errDead
		case step == '?':
			o.err = inconclusive(errDead)
		case step >= '0' && step <= '9':
			o.report.Weight = Weight{Op: SetWeight, N: int(step - '0')}
		case step == 'x':
			told += k.expire(now, time.Minute).To.String()[:1]
			continue
		}
		if change, ok := k.take(&c, o); ok && change.From == change.To {
			told += "w"
		} else if ok {
			told += change.To.String()[:1]
		} else {
			told += "."
		}
	}
	return k, told
}

func TestStates(t *testing.T) {
	for _, tt := range []struct {
		name        string
		rise, fall  int
		initial     State
		steps, told string
		state       State
		streak      int
	}{
		{"the first result decides: passed", 2, 3, Unknown, "+", "u", Up, 0},
		{"the first result decides: failed", 2, 3, Unknown, "-", "d", Down, 0},
		{"an inconclusive result decides nothing", 2, 3, Unknown, "???", "...", Unknown, 0},
		{"the first conclusive result decides", 2, 3, Unknown, "?-", ".d", Down, 0},
		{"Fall failures in a row take it down", 1, 3, Up, "---", "..d", Down, 0},
		{"fewer do not", 1, 3, Up, "--", "..", Up, 2},
		{"one that passes begins the count again", 1, 3, Up, "--+--", ".....", Up, 2},
		{"Rise results in a row bring it up", 2, 1, Down, "++", ".u", Up, 0},
		{"fewer do not, either", 2, 1, Down, "+-+", "...", Down, 1},
		{"inconclusive results neither count nor break a row", 1, 3, Up, "-?-?-", "....d", Down, 0},
		{"results that agree with the state are not told", 1, 1, Up, "+++", "...", Up, 0},
		{"Initial Up needs Fall failures", 1, 2, Up, "--", ".d", Down, 0},
		{"Initial Down needs Rise successes", 3, 1, Down, "+++", "..u", Up, 0},
		{"too old is unknown", 1, 1, Unknown, "+x", "uu", Unknown, 0},
		{"after that the first result decides again", 3, 3, Unknown, "+x-", "uud", Down, 0},
		{"MaxAge forgets the row", 1, 3, Up, "--x", "..u", Unknown, 0},
		{"another weight is told", 1, 1, Up, "55", "w.", Up, 0},
		{"a weight comes with the state", 1, 1, Unknown, "5", "u", Up, 0},
		{"a failure does not take the weight back", 1, 2, Up, "5-5", "w..", Up, 0},
		{"a weight is told while the state is still down", 3, 1, Down, "5", "w", Down, 1},
		{"no weight is a weight, too", 1, 1, Up, "5+", "ww", Up, 0},
	} {
		k, told := walk(Check{Rise: tt.rise, Fall: tt.fall, Initial: tt.initial}, tt.steps)
		if told != tt.told || k.state != tt.state || k.streak != tt.streak {
			t.Errorf("%s: told %q, is %v with %d against it; want %q, %v, %d", tt.name, told, k.state, k.streak, tt.told, tt.state, tt.streak)
		}
	}
}

func TestWait(t *testing.T) {
	for _, tt := range []struct {
		name, steps string
		want        time.Duration
	}{
		{"before the first result", "", 5 * time.Second},
		{"up", "+", 5 * time.Second},
		{"down", "-", 9 * time.Second},
		{"up, and failing", "+-", time.Second},
		{"down, and passing", "-+", time.Second},
		{"inconclusive", "+?", time.Second},
		{"inconclusive again", "+??", 5 * time.Second},
		{"inconclusive again, in doubt", "+-??", time.Second},
		{"conclusive again", "+?+", 5 * time.Second},
		{"unknown by age", "+x", 5 * time.Second},
	} {
		c := Check{Rise: 2, Fall: 2, Interval: 5 * time.Second, DownInterval: 9 * time.Second, RetryInterval: time.Second}
		k, _ := walk(c, tt.steps)
		if got := k.wait(&c); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestKnownTellsAll(t *testing.T) {
	k, _ := walk(Check{Rise: 1, Fall: 2}, "3--?")
	if !errors.Is(k.err, errDead) || !k.last.Equal(time.Unix(3, 0)) || !k.since.Equal(time.Unix(3, 0)) || k.took != time.Millisecond {
		t.Errorf("%+v", k)
	}
	if k.inconclusive == nil || k.stats != (Stats{Passed: 1, Failed: 2, Inconclusive: 1, Changes: 2}) {
		t.Errorf("%+v", k)
	}
	c := k.expire(time.Unix(9, 0), time.Minute)
	if c.From != Down || c.To != Unknown || c.Weight.N != 3 || !errors.Is(c.Err, ErrInconclusive) || !strings.Contains(c.Err.Error(), "1m0s") {
		t.Errorf("%+v", c)
	}
}
