package health

import (
	"encoding/json"
	"time"
)

// Status is a check as of now.
type Status struct {
	State State
	// Since is when State began; zero if it has never changed.
	Since time.Time
	// Last is when the last conclusive probe ended; zero if there was none. Err is
	// its result, nil if it passed, and Report what it told; but Report.Weight is of
	// the last probe that passed.
	Last   time.Time
	Err    error
	Report Report
	// Duration is how long the last conclusive probe took.
	Duration time.Duration
	// Streak is how many results in a row contradict State.
	Streak int
	// Running is since when a probe is under way; zero if none is. One that is far
	// older than the timeout hangs: its Prober does not heed its context.
	Running time.Time
	// Inconclusive is the error of the last probe if it was inconclusive, else nil.
	Inconclusive error
	Stats        Stats
}

// Stats counts since the check was set.
type Stats struct {
	Passed       uint64 // probes
	Failed       uint64
	Inconclusive uint64 // probes, and those that could not begin in time
	Changes      uint64 // of the state
}

// Load is what a Monitor has to do.
type Load struct {
	Checks  int
	Probes  int // those of equal Keys are one
	Running int // probes under way
	Waiting int // for a place, see Config.Probes
	// How often since New this process was late by more than 5 ms while probes were
	// under way or due, and for how long in all.
	Starved    uint64
	StarvedFor time.Duration
}

// Change is an event: a check has changed its state, or what it wants its weight to be.
// A first result that is what Check.Initial says is none.
type Change struct {
	ID   string
	Time time.Time
	From State
	To   State // the same as From if only Weight has changed
	// Weight is what the last probe that passed wants.
	Weight Weight
	// Err is why it is down, or unknown; nil if it is up.
	Err error
}

// status is a copy of what there is to tell.
func (m *member) status() Status {
	k := &m.known
	s := Status{
		State: k.state, Since: k.since, Last: k.last, Err: k.err, Report: k.report, Duration: k.took,
		Streak: k.streak, Inconclusive: k.inconclusive, Stats: k.stats,
	}
	if r := m.probe.run; r != nil {
		s.Running = r.began
	}
	return s
}

// MarshalJSON makes an object with the names of the fields; errors are their texts.
func (s Status) MarshalJSON() ([]byte, error) {
	type fields Status
	return json.Marshal(struct {
		fields
		Err, Inconclusive string
	}{fields(s), text(s.Err), text(s.Inconclusive)})
}

// MarshalJSON makes an object with the names of the fields; Err is its text.
func (c Change) MarshalJSON() ([]byte, error) {
	type fields Change
	return json.Marshal(struct {
		fields
		Err string
	}{fields(c), text(c.Err)})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
