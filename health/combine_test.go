package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"
)

var errMember = errors.New("it is down")

// voter is a prober of a known outcome.
func voter(kind int) Prober {
	return ProberFunc(func(context.Context) (Report, error) {
		return Report{}, []error{nil, errMember, fmt.Errorf("no descriptors: %w", ErrInconclusive)}[kind]
	})
}

// kindOf is what a probe counts as.
func kindOf(t *testing.T, p Prober) int {
	t.Helper()
	_, err := p.Probe(t.Context())
	kind := vote{err: err}.kind()
	var op *OpError
	if err != nil && (!errors.As(err, &op) || errors.Is(err, errMember) != (kind == voteFail) && !errors.Is(err, errPassed)) {
		t.Errorf("got %v", err)
	}
	return kind
}

// elected says what a number of passes means, by trying all that the inconclusive
// ones could have been.
func elected(kinds []int, need int) int {
	could := map[int]bool{}
	var try func(i, passes int)
	try = func(i, passes int) {
		switch {
		case i < len(kinds) && kinds[i] == votePass:
			try(i+1, passes+1)
		case i < len(kinds) && kinds[i] == voteFail:
			try(i+1, passes)
		case i < len(kinds):
			try(i+1, passes)
			try(i+1, passes+1)
		case passes >= need:
			could[votePass] = true
		default:
			could[voteFail] = true
		}
	}
	try(0, 0)
	if len(could) == 2 {
		return voteUnclear
	}
	if could[votePass] {
		return votePass
	}
	return voteFail
}

// Of three members, each passing, failing, inconclusive: All, Any, AtLeast and Not
// are what they must be whatever the inconclusive ones would have been.
func TestCombinationsOfThree(t *testing.T) {
	inverse := []int{votePass: voteFail, voteFail: votePass, voteUnclear: voteUnclear}
	for i := range voteKinds * voteKinds * voteKinds {
		kinds := []int{i / 9, i / 3 % 3, i % 3}
		members := []Prober{voter(kinds[0]), voter(kinds[1]), voter(kinds[2])}
		tests := []struct {
			name string
			p    Prober
			need int
		}{
			{"all", All(members...), 3},
			{"any", Any(members...), 1},
			{"at least 1", AtLeast(1, members...), 1},
			{"at least 2", AtLeast(2, members...), 2},
			{"at least 3", AtLeast(3, members...), 3},
			{"all nested", All(All(members[:2]...), members[2]), 3},
			{"any nested", Any(Any(members[:2]...), members[2]), 1},
		}
		for _, tt := range tests {
			want := elected(kinds, tt.need)
			if got := kindOf(t, tt.p); got != want {
				t.Errorf("%s of %v: got %d, want %d", tt.name, kinds, got, want)
			}
			if got := kindOf(t, Not(tt.p)); got != inverse[want] {
				t.Errorf("not %s of %v: got %d, want %d", tt.name, kinds, got, inverse[want])
			}
			if got := kindOf(t, Not(Not(tt.p))); got != want {
				t.Errorf("not not %s of %v: got %d, want %d", tt.name, kinds, got, want)
			}
		}
	}
}

func TestTheReportOfACombination(t *testing.T) {
	soon, late := time.Unix(1000, 0), time.Unix(2000, 0)
	tell := func(err error, w Weight, expires time.Time) Prober {
		return ProberFunc(func(context.Context) (Report, error) { return Report{Weight: w, Expires: expires}, err })
	}
	plain := tell(nil, Weight{}, late)
	first := tell(nil, Weight{SetWeight, 7}, time.Time{})
	second := tell(nil, Weight{AddWeight, 2}, soon)
	broken := tell(errMember, Weight{SetWeight, 99}, soon)
	tests := []struct {
		name string
		p    Prober
		want Report
	}{
		{"the first weight, the earliest end", All(plain, first, second), Report{Weight{SetWeight, 7}, soon}},
		{"no weight", All(plain), Report{Expires: late}},
		{"the weight of one that fails does not count", Any(broken, second), Report{Weight{AddWeight, 2}, soon}},
		{"a failure has no weight", All(first, broken), Report{Expires: soon}},
		{"nor has what is turned round", Not(second), Report{Expires: soon}},
		{"nor has what is turned round into a pass", Not(broken), Report{Expires: soon}},
	}
	for _, tt := range tests {
		if got, _ := tt.p.Probe(t.Context()); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestTheErrorOfACombination(t *testing.T) {
	pass, fail, unclear := voter(votePass), voter(voteFail), voter(voteUnclear)
	for _, tt := range []struct {
		p    Prober
		want string
	}{
		{All(pass, fail, fail), "health: combine all: 1 of 3 passed, want 3: it is down; it is down"},
		{Any(fail, fail), "health: combine any: 0 of 2 passed, want 1: it is down; it is down"},
		{AtLeast(2, pass, unclear, fail), "health: combine at least: 1 of 3 passed, want 2: no descriptors: inconclusive"},
		{All(All(fail), pass), "health: combine all: 1 of 2 passed, want 2: combine all: 0 of 1 passed, want 1: it is down"},
		{Not(pass), "health: combine not: it passes, and should not"},
	} {
		if _, err := tt.p.Probe(t.Context()); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestInvalidCombinations(t *testing.T) {
	pass := voter(votePass)
	for name, p := range map[string]Prober{
		"all of none":    All(),
		"any of none":    Any(),
		"0 of one":       AtLeast(0, pass),
		"-1 of one":      AtLeast(-1, pass),
		"2 of one":       AtLeast(2, pass),
		"a nil":          All(pass, nil),
		"not nil":        Not(nil),
		"a wrong member": Any(pass, Not(File{})),
	} {
		if err := p.(validator).Validate(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: Validate says %v", name, err)
		}
		if name == "a wrong member" {
			continue
		}
		if _, err := p.Probe(t.Context()); !errors.Is(err, fs.ErrInvalid) || !errors.Is(err, ErrInconclusive) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := All(pass, Not(File{Path: "x"})).(validator).Validate(); err != nil {
		t.Error(err)
	}
}

// All members probe at once, and are waited for; a caller's slice is not kept.
func TestMembersProbeTogether(t *testing.T) {
	const n = 50
	arrived, gone := make(chan struct{}, n), 0
	meet := make(chan struct{})
	probers := make([]Prober, n)
	for i := range probers {
		probers[i] = ProberFunc(func(ctx context.Context) (Report, error) {
			arrived <- struct{}{}
			select {
			case <-meet:
				return Report{}, nil
			case <-ctx.Done():
				return Report{}, fault(ended(ctx, ctx.Err()))
			}
		})
	}
	p := All(probers...)
	clear(probers)
	go func() {
		for range n {
			<-arrived
			gone++
		}
		close(meet)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := p.Probe(ctx); err != nil || gone != n {
		t.Errorf("got %v, %d of %d members came", err, gone, n)
	}
}

// The members share one timeout; one that has passed in time is enough for Any.
func TestACombinationThatTimesOut(t *testing.T) {
	hang := ProberFunc(func(ctx context.Context) (Report, error) {
		<-ctx.Done()
		return Report{}, fault(ended(ctx, ctx.Err()))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := All(voter(votePass), hang).Probe(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrInconclusive) {
		t.Errorf("all: got %v", err)
	}
	if _, err := Any(voter(votePass), hang).Probe(ctx); err != nil {
		t.Errorf("any: got %v", err)
	}
	cancelled, end := context.WithCancel(t.Context())
	end()
	if _, err := All(voter(votePass), hang).Probe(cancelled); !errors.Is(err, ErrInconclusive) {
		t.Errorf("cancelled: got %v", err)
	}
}

func ExampleAll() {
	// A file named "down" takes the server out of service, whatever else is right.
	check := All(
		File{Path: "/srv/down", Test: FileAbsent},
		AtLeast(1, voter(votePass), voter(voteFail)),
	)
	_, err := check.Probe(context.Background())
	fmt.Println(err)
	// Output: <nil>
}

func ExampleNot() {
	_, err := Not(File{Path: "/"}).Probe(context.Background())
	fmt.Println(err)
	// Output: health: combine not: it passes, and should not
}
