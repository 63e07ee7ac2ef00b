package health

import (
	"errors"
	"fmt"
	"time"
)

// outcome is what came out of one probe.
type outcome struct {
	at     time.Time // its end
	took   time.Duration
	report Report
	err    error
}

// known is what is known of one check: the machine that makes states of results. It
// has no clock.
type known struct {
	state        State
	since        time.Time
	last         time.Time
	err          error
	report       Report
	took         time.Duration
	streak       int
	inconclusive error
	unsure       int // inconclusive results in a row
	stats        Stats
}

// wait is the time from the start of the last probe to that of the next.
func (k *known) wait(c *Check) time.Duration {
	switch {
	case k.streak > 0 || k.unsure == 1:
		return c.RetryInterval
	case k.state == Down:
		return c.DownInterval
	}
	return c.Interval
}

// take makes of a result what follows from it; changed says that there is
// something to tell.
func (k *known) take(c *Check, r outcome) (change Change, changed bool) {
	if errors.Is(r.err, ErrInconclusive) {
		k.inconclusive = r.err
		k.unsure++
		k.stats.Inconclusive++
		return Change{}, false
	}
	weight := k.report.Weight
	k.inconclusive, k.unsure, k.last, k.took, k.err, k.report = nil, 0, r.at, r.took, r.err, r.report
	if r.err == nil {
		k.stats.Passed++
		return k.count(c, r, Up, c.Rise, weight)
	}
	k.stats.Failed++
	k.report.Weight = weight
	return k.count(c, r, Down, c.Fall, weight)
}

// count counts a result that speaks for a state, and goes there when there are
// enough of its kind in a row.
func (k *known) count(c *Check, r outcome, to State, enough int, weight Weight) (Change, bool) {
	if k.state == to {
		k.streak = 0
		return k.change(r.at, to, r.err), k.report.Weight != weight
	}
	k.streak++
	if k.state != Unknown && k.streak < enough {
		return k.change(r.at, k.state, nil), k.report.Weight != weight
	}
	return k.become(r.at, to, r.err), true
}

// expire makes the state Unknown, because its last result is too old.
func (k *known) expire(now time.Time, maxAge time.Duration) Change {
	err := fmt.Errorf("no result for %v: %w", maxAge, ErrInconclusive)
	if k.inconclusive != nil {
		err = fmt.Errorf("no result for %v: %w", maxAge, k.inconclusive)
	}
	return k.become(now, Unknown, err)
}

func (k *known) become(now time.Time, to State, err error) Change {
	c := k.change(now, k.state, err)
	c.To = to
	k.state, k.since, k.streak = to, now, 0
	k.stats.Changes++
	return c
}

// change is a Change in which the state stays.
func (k *known) change(now time.Time, s State, err error) Change {
	return Change{Time: now, From: s, To: s, Weight: k.report.Weight, Err: err}
}
