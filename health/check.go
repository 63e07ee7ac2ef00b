package health

import (
	"fmt"
	"time"
)

// Check is one thing that a Monitor probes again and again. The zero value of each
// field but Prober is its default.
type Check struct {
	// Prober probes. It must not be nil.
	Prober Prober
	// Key shares probes: checks with the same Key probe the same thing, so the Prober
	// that was set last is called for all of them, at the shortest of their intervals
	// and with the longest of their timeouts, and each takes its own conclusions
	// from the results. "" is shared with none.
	Key string

	// Interval is the time from the start of a probe to the start of the next, while
	// the check is up, or unknown. 0 means 5 s, the least is 10 ms. A probe that
	// takes longer is followed by the next at once; missed ones are not made up for.
	Interval time.Duration
	// DownInterval is Interval while the check is down; 0 means Interval.
	DownInterval time.Duration
	// RetryInterval is Interval while results contradict the state, so that Rise or
	// Fall are soon reached, and after a first inconclusive one: more of those are not
	// hurried after, as that is no time for more work. 0 means 1 s, or Interval if that
	// is shorter.
	RetryInterval time.Duration
	// Timeout is the most that a probe may take, without the time for which the process
	// was late; 0 means 1 s. Less than that takes a machine that is never busy.
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
	// Unknown. It must be longer than Timeout and the longest interval, with its
	// jitter, together. Time in which the process itself did not run is not
	// counted. 0 means that a state is kept until a result changes it.
	MaxAge time.Duration
}

// Defaults and limits of a Check.
const (
	defaultInterval = 5 * time.Second
	defaultRetry    = time.Second
	defaultTimeout  = time.Second
	defaultRise     = 1
	defaultFall     = 3
	defaultJitter   = 0.1
	mostJitter      = 0.5
	leastInterval   = 10 * time.Millisecond
)

// normal is the Check with its defaults, or what is wrong with it.
func (c Check) normal() (Check, error) {
	if c.Prober == nil {
		return c, invalid("it has no Prober")
	}
	if v, ok := c.Prober.(validator); ok {
		if err := v.Validate(); err != nil {
			return c, err
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		zero  func() time.Duration
		least time.Duration
	}{
		{"Interval", &c.Interval, func() time.Duration { return defaultInterval }, leastInterval},
		{"DownInterval", &c.DownInterval, func() time.Duration { return c.Interval }, leastInterval},
		{"RetryInterval", &c.RetryInterval, func() time.Duration { return min(defaultRetry, c.Interval) }, leastInterval},
		{"Timeout", &c.Timeout, func() time.Duration { return defaultTimeout }, time.Millisecond},
	} {
		if *d.value == 0 {
			*d.value = d.zero()
		}
		if *d.value < d.least {
			return c, invalid("%s is %v: the least is %v", d.name, *d.value, d.least)
		}
	}
	return c.normalCounts()
}

func (c Check) normalCounts() (Check, error) {
	if c.Rise < 0 || c.Fall < 0 {
		return c, invalid("Rise is %d and Fall %d: they are counts of results", c.Rise, c.Fall)
	}
	if c.Rise == 0 {
		c.Rise = defaultRise
	}
	if c.Fall == 0 {
		c.Fall = defaultFall
	}
	if c.Initial > Down {
		return c, invalid("Initial is %v: it is Unknown, Up or Down", c.Initial)
	}
	switch {
	case c.Jitter == 0:
		c.Jitter = defaultJitter
	case c.Jitter < 0:
		c.Jitter = 0
	case !(c.Jitter <= mostJitter): // or no number
		return c, invalid("Jitter is %v: the most is %v", c.Jitter, mostJitter)
	}
	if c.MaxAge < 0 {
		return c, invalid("MaxAge is %v: it is an age, or 0", c.MaxAge)
	}
	if least := jittered(max(c.Interval, c.DownInterval), c.Jitter, 1) + c.Timeout; c.MaxAge > 0 && c.MaxAge <= least {
		return c, invalid("MaxAge is %v: between two results may be %v (interval, jitter and Timeout), so choose more, and Fall times as much to be calm", c.MaxAge, least)
	}
	return c, nil
}

// State is what is known of a check.
type State uint8

// The zero State is Unknown: no conclusive result yet, or none for MaxAge.
const (
	Unknown State = iota
	Up
	Down
)

var states = [...]string{Unknown: "unknown", Up: "up", Down: "down"}

// String is "unknown", "up" or "down".
func (s State) String() string {
	if int(s) < len(states) {
		return states[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText writes a State as String does.
func (s State) MarshalText() ([]byte, error) {
	if int(s) >= len(states) {
		return nil, invalid("there is no state %d", uint8(s))
	}
	return []byte(states[s]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(text []byte) error {
	for n, name := range states {
		if name == string(text) {
			*s = State(n)
			return nil
		}
	}
	return invalid("%q is no state: unknown, up or down", text)
}
