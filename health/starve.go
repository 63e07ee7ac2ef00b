package health

import (
	"fmt"
	"slices"
	"time"
)

const (
	// watchEvery is how often the watchdog looks whether it comes in time.
	watchEvery = 10 * time.Millisecond
	// tolerated is a lateness that every machine has.
	tolerated = 5 * time.Millisecond
	// latestMost bounds what is remembered.
	latestMost = 256
	// Of a probe that fails before its time is over, a single lateness of a
	// starvedShare of that is to blame: a probe waits for the processor several times.
	starvedShare = 4
)

// starvation knows when this process could not do what was due, because it was
// stopped, or because others had the processors.
type starvation struct {
	total  time.Duration // so far
	until  time.Duration // what came before is in total
	times  uint64
	latest []lateness // in order of time, each longer than those behind it
}

type lateness struct {
	at, late time.Duration
}

// late tells that something which was due at this time is done only now.
func (s *starvation) late(due, now time.Duration) {
	late := now - due
	if late <= tolerated {
		return
	}
	if from := max(due, s.until); now > from {
		s.total += now - from
		s.times++
		s.until = now
	}
	n := len(s.latest)
	for n > 0 && s.latest[n-1].late <= late {
		n--
	}
	if n == latestMost {
		n--
	}
	s.latest = append(s.latest[:n], lateness{now, late})
}

// worst is the longest lateness that ended since then, without what of it was before;
// the last of those that are equal.
func (s *starvation) worst(since time.Duration) (worst lateness) {
	n, _ := slices.BinarySearchFunc(s.latest, since, func(l lateness, t time.Duration) int { return int(l.at - t) })
	for _, l := range s.latest[n:] {
		if l.late = min(l.late, l.at-since); l.late >= worst.late {
			worst = l
		}
	}
	return worst
}

// excuse is why a probe that failed is not held against what it probed: the process
// was once late by enough, or the machine was suspended, which parts the clocks. It is
// nil if there is no excuse.
func excuse(worst, enough, gap, timeout time.Duration, err error) error {
	switch {
	case worst >= enough:
		return fmt.Errorf("%w: this process was late by %v: %w", ErrInconclusive, worst.Round(time.Millisecond), err)
	case gap.Abs() >= max(timeout/starvedShare, 100*time.Millisecond):
		return fmt.Errorf("%w: this machine slept, or its clock was set, by %v: %w", ErrInconclusive, gap.Round(time.Millisecond), err)
	}
	return nil
}

// parted is by how much the wall clock went on more than the monotonic clock.
func parted(began, ended time.Time) time.Duration {
	return ended.Round(0).Sub(began.Round(0)) - ended.Sub(began)
}

// allowed is how long a probe may take by its Deadline, which cannot be moved any
// more: if the process has been late, so long that the same again is no excuse.
func allowed(worst, timeout time.Duration) time.Duration {
	return max(timeout, min(worst*(starvedShare+1), longest(timeout)))
}
