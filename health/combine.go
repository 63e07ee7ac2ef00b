package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// All passes if all of the probers pass. Without any it is invalid.
//
// All, Any and AtLeast run their probers at once, under one timeout, and wait for all
// of them. A prober that is inconclusive makes the whole inconclusive if its answer
// would have decided it. The Report has the Weight of the first prober, in the order
// given, that passed and has one, and the earliest Expires of all.
func All(probers ...Prober) Prober { return newSome("all", len(probers), probers) }

// Any passes if one of the probers passes, see All.
func Any(probers ...Prober) Prober { return newSome("any", 1, probers) }

// AtLeast passes if n of the probers pass, see All. It is invalid unless n is
// between 1 and their number.
func AtLeast(n int, probers ...Prober) Prober { return newSome("at least", n, probers) }

// Not passes if the prober fails, and fails if it passes. Inconclusive stays what it
// is. The Report is passed on without Weight.
func Not(p Prober) Prober { return not{p} }

// some is a number of probers of which need have to pass.
type some struct {
	op      string
	need    int
	probers []Prober
}

func newSome(op string, need int, probers []Prober) some {
	return some{op, need, append([]Prober(nil), probers...)}
}

// Validate checks the number, and all that can be checked of the probers.
func (s some) Validate() error {
	if err := s.check(); err != nil {
		return opError("combine", s.op, err)
	}
	for _, p := range s.probers {
		if err := validate(p); err != nil {
			return err
		}
	}
	return nil
}

func (s some) check() error {
	n := len(s.probers)
	switch {
	case n == 0:
		return invalid("no probers")
	case s.need < 1 || s.need > n:
		return invalid("%d of %d probers: want 1 to %d", s.need, n, n)
	case slices.Contains(s.probers, nil):
		return errNil
	}
	return nil
}

// Probe probes all.
func (s some) Probe(ctx context.Context) (Report, error) {
	if err := s.check(); err != nil {
		return Report{}, opError("combine", s.op, fault(err))
	}
	votes := make([]vote, len(s.probers))
	var wg sync.WaitGroup
	for i, p := range s.probers {
		wg.Go(func() { votes[i].Report, votes[i].err = p.Probe(ctx) })
	}
	wg.Wait()
	report, short := tally(s.need, votes)
	if short != nil {
		return report, &OpError{Op: "combine", Object: s.op, Err: short}
	}
	return report, nil
}

// vote is what a member returned.
type vote struct {
	Report
	err error
}

// votes are what a vote can count as.
const (
	votePass = iota
	voteFail
	voteUnclear
	voteKinds
)

func (v vote) kind() int {
	switch {
	case v.err == nil:
		return votePass
	case errors.Is(v.err, ErrInconclusive):
		return voteUnclear
	}
	return voteFail
}

// tally says what the votes mean if need of them have to pass: nil is a pass. The
// error has the errors of the members that decided, and matches what they match, so
// that a failure never matches ErrInconclusive though a member may.
func tally(need int, votes []vote) (report Report, short *shortError) {
	var errs [voteKinds][]error
	for _, v := range votes {
		kind := v.kind()
		errs[kind] = append(errs[kind], v.err)
		report.Expires = earliest(report.Expires, v.Expires)
		if kind == votePass && report.Weight == (Weight{}) {
			report.Weight = v.Weight
		}
	}
	n := len(errs[votePass])
	if n >= need {
		return report, nil
	}
	decided := voteFail
	if n+len(errs[voteUnclear]) >= need {
		decided = voteUnclear
	}
	report.Weight = Weight{}
	return report, &shortError{need, n, len(votes), errs[decided]}
}

// earliest is the first of two times of which the zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// shortError says that too few probers passed.
type shortError struct {
	need, passed, of int
	errs             []error // of those that decided
}

func (e *shortError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d passed, want %d", e.passed, e.of, e.need)
	for i, err := range e.errs {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(strings.TrimPrefix(err.Error(), "health: "))
	}
	return b.String()
}

// Unwrap returns the errors of those that decided.
func (e *shortError) Unwrap() []error { return e.errs }

// not is a prober turned round.
type not struct{ Prober }

// errPassed is the failure of Not.
var errPassed = errors.New("it passes, and should not")

// Validate checks what can be checked of the prober.
func (n not) Validate() error { return validate(n.Prober) }

// Probe probes and turns the result round.
func (n not) Probe(ctx context.Context) (Report, error) {
	if n.Prober == nil {
		return Report{}, opError("combine", "not", fault(errNil))
	}
	report, err := n.Prober.Probe(ctx)
	report.Weight = Weight{}
	switch (vote{err: err}).kind() {
	case votePass:
		return report, &OpError{Op: "combine", Object: "not", Err: errPassed}
	case voteFail:
		if isTimeout(err) {
			silence(ctx)
		}
		return report, nil
	}
	return report, err
}

var errNil = invalid("a prober is nil")

// validate checks what can be checked of a prober.
func validate(p Prober) error {
	if p == nil {
		return opError("combine", "", errNil)
	}
	if v, ok := p.(validator); ok {
		return v.Validate()
	}
	return nil
}
