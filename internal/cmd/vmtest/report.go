package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A report prints what happens and counts it.
type report struct {
	w        io.Writer
	verbose  bool
	outcomes map[string]outcome // by the name of a test or check
	failures []string           // in the order of their ends
}

// An outcome is what became of a test in all its rings.
type outcome struct{ passed, failed, skipped bool }

func newReport(w io.Writer, verbose bool) *report {
	return &report{w: w, verbose: verbose, outcomes: map[string]outcome{}}
}

// stage prints the begin of a stage; the returned function prints how long it took.
func (r *report) stage(name string) (end func()) {
	fmt.Fprintf(r.w, "== %s\n", name)
	start := time.Now()
	return func() { fmt.Fprintf(r.w, "   %s\n", took(start)) }
}

// line prints one result of a stage, and a second line if detail is not empty.
func (r *report) line(status, what, detail string) {
	fmt.Fprintf(r.w, "   %-5s %s\n", status, what)
	if detail != "" {
		fmt.Fprintf(r.w, "         %s\n", strings.ReplaceAll(strings.TrimSpace(detail), "\n", "\n         "))
	}
}

// fail counts and prints the failure of something that is not a test.
func (r *report) fail(name, what, output string) {
	r.record(name, outcome{failed: true}, "")
	r.line("FAIL", what, "")
	r.print(output)
}

// print prints output as it came, with a line end.
func (r *report) print(output string) {
	if output = strings.TrimRight(output, "\n"); output != "" {
		fmt.Fprintln(r.w, output)
	}
}

// record adds what became of a test in one ring.
func (r *report) record(name string, o outcome, ring string) {
	r.add(name, o)
	if o.failed {
		if ring != "" {
			name += " (" + ring + ")"
		}
		r.failures = append(r.failures, name)
	}
}

func (r *report) add(name string, o outcome) {
	was := r.outcomes[name]
	r.outcomes[name] = outcome{was.passed || o.passed, was.failed || o.failed, was.skipped || o.skipped}
}

// join adds what another report has counted and printed.
func (r *report) join(other *report, printed string) {
	for name, o := range other.outcomes {
		r.add(name, o)
	}
	r.failures = append(r.failures, other.failures...)
	r.print(printed)
}

// success tells whether nothing failed and, if tests were to run, any ran.
func (r *report) success(tests bool) bool {
	passed, failed, skipped := r.totals()
	return failed == 0 && (!tests || passed+skipped > 0)
}

// totals counts each name once.
func (r *report) totals() (passed, failed, skipped int) {
	for _, o := range r.outcomes {
		switch {
		case o.failed:
			failed++
		case o.passed:
			passed++
		case o.skipped:
			skipped++
		}
	}
	return
}

// summary prints the failures' names and the last line.
func (r *report) summary() {
	passed, failed, skipped := r.totals()
	if len(r.failures) > 0 {
		fmt.Fprintln(r.w, "== failed")
		for _, name := range r.failures {
			fmt.Fprintf(r.w, "   %s\n", name)
		}
	}
	fmt.Fprintf(r.w, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
}

// took is the time since start, for people.
func took(start time.Time) string {
	return time.Since(start).Round(100 * time.Millisecond).String()
}
