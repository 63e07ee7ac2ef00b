package health

import (
	"fmt"
	"time"
)

// While probes are under way the loop looks every watchEvery whether it comes in time.
const (
	watchEvery = 10 * time.Millisecond
	// tolerated is a lateness that every machine has.
	tolerated = 2 * time.Millisecond
)

// starvation knows for how long this process could not do what was due, because
// it was stopped, or because others had the processors.
type starvation struct {
	total time.Duration // so far
	until time.Duration // what came before is in total
}

// late tells that something which was due at this time is done now.
func (s *starvation) late(due, now time.Duration) {
	from := max(due, s.until)
	if now-due > tolerated && now > from {
		s.total += now - from
		s.until = now
	}
}

// starved is why a probe that failed is not held against what it probed: of its
// time the process missed a quarter of the timeout or more. Or the clocks have
// parted: the machine was suspended.
func starvedError(missed, timeout time.Duration, began, ended time.Time, err error) error {
	if missed >= timeout/4 {
		return fmt.Errorf("%w: the process was starved for %v of the probe: %w", ErrInconclusive, missed.Round(time.Millisecond), err)
	}
	if gap := ended.Round(0).Sub(began.Round(0)) - ended.Sub(began); gap.Abs() > max(timeout/4, 100*time.Millisecond) {
		return fmt.Errorf("%w: the machine slept, or its clock was set, by %v during the probe: %w", ErrInconclusive, gap.Round(time.Millisecond), err)
	}
	return nil
}
