package health

import "time"

// Check is one thing that a Monitor probes again and again. The zero value of each
// field but Prober is its default.
type Check struct {
	// Prober probes. It must not be nil.
	Prober Prober
	// Key shares probes: of all checks with the same Key one Prober is called, at
	// the shortest of their intervals and with the longest of their timeouts, and
	// each takes its own conclusions from the results. "" is shared with none.
	Key string

	// Interval is the time from the start of a probe to the start of the next, while
	// the check is up, or unknown. 0 means 5 s, the least is 10 ms. A probe that
	// takes longer is followed by the next at once; missed ones are not made up for.
	Interval time.Duration
	// DownInterval is Interval while the check is down; 0 means Interval.
	DownInterval time.Duration
	// RetryInterval is Interval while results contradict the state, or are
	// inconclusive, so that Rise or Fall are soon reached. 0 means 1 s, or Interval
	// if that is shorter.
	RetryInterval time.Duration
	// Timeout is the most that a probe may take, 0 means 1 s. Less than that
	// takes a machine that is never busy.
	Timeout time.Duration

	// Rise is how many probes in a row must pass until a check that is down is up;
	// Fall how many must fail until one that is up is down. 0 means 1 and 3.
	// While it is unknown the first conclusive result decides.
	Rise, Fall int
	// Initial is the state before the first result. Unknown, the zero value, is
	// decided by the first result; a program that starts again beside a kernel table
	// that is in use may prefer Up.
	Initial State
	// Jitter is the share of an interval by which it varies at random, so that
	// probes do not fall into step: 0.1 is 10 % either way, and what 0 means.
	// Negative means none, the most is 0.5.
	Jitter float64
	// MaxAge is how old the last conclusive result may be: after that the state is
	// Unknown. It must be longer than Interval and Timeout together. 0 means that a
	// state is kept until a result changes it.
	MaxAge time.Duration
}

// State is what is known of a check.
type State uint8

// The zero State is Unknown: no conclusive result yet, or none for MaxAge.
const (
	Unknown State = iota
	Up
	Down
)
