package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

// a ring of a module m that has read events.
func readRing(t *testing.T, r *report, name, events string) *ring {
	t.Helper()
	g := newRing(r, name, module{Path: "m"}, false)
	if err := g.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	return g
}

func checkTotals(t *testing.T, r *report, passed, failed, skipped int) {
	t.Helper()
	if p, f, s := r.totals(); p != passed || f != failed || s != skipped {
		t.Errorf("counted %d passed, %d failed, %d skipped; want %d, %d, %d", p, f, s, passed, failed, skipped)
	}
}

const (
	passes = `{"Action":"run","Package":"m/a","Test":"TestX"}
{"Action":"run","Package":"m/a","Test":"TestX/sub"}
{"Action":"output","Package":"m/a","Test":"TestX/sub","Output":"said by the test\n"}
{"Action":"pass","Package":"m/a","Test":"TestX/sub"}
{"Action":"pass","Package":"m/a","Test":"TestX"}
{"Action":"pass","Package":"m/a"}
`
	skips = `{"Action":"run","Package":"m/a","Test":"TestX"}
{"Action":"skip","Package":"m/a","Test":"TestX"}
{"Action":"pass","Package":"m/a"}
`
	fails = `{"Action":"run","Package":"m/a","Test":"TestX"}
{"Action":"run","Package":"m/a","Test":"TestX/sub"}
{"Action":"output","Package":"m/a","Test":"TestX/sub","Output":"the reason\n"}
{"Action":"fail","Package":"m/a","Test":"TestX/sub"}
{"Action":"output","Package":"m/a","Test":"TestX","Output":"panic: after the end\n"}
{"Action":"fail","Package":"m/a","Test":"TestX"}
{"Action":"output","Package":"m/a","Output":"exit status 2\n"}
{"Action":"fail","Package":"m/a"}
`
)

func TestATestCountsOnceInAllRings(t *testing.T) {
	tests := []struct {
		name                    string
		rings                   []string
		passed, failed, skipped int
	}{
		{"passed in both", []string{passes, passes}, 1, 0, 0},
		{"skipped here, passed in the machine", []string{skips, passes}, 1, 0, 0},
		{"skipped in both", []string{skips, skips}, 0, 0, 1},
		{"failed in the first", []string{fails, passes}, 0, 1, 0},
		{"failed in the second", []string{passes, fails}, 0, 1, 0},
		{"failed in one, skipped in the other", []string{skips, fails}, 0, 1, 0},
		{"two packages", []string{passes, strings.ReplaceAll(passes, "m/a", "m/b")}, 2, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newReport(new(bytes.Buffer), false)
			for _, events := range tt.rings {
				readRing(t, r, "ring", events)
			}
			checkTotals(t, r, tt.passed, tt.failed, tt.skipped)
		})
	}
}

func TestAFailureIsPrintedInFullAndASuccessNotAtAll(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out, false)
	readRing(t, r, "here", passes)
	readRing(t, r, "there", fails)
	for _, want := range []string{"the reason\n", "panic: after the end\n", "exit status 2\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(out.String(), "said by the test") {
		t.Error("the report has the output of a test that passed")
	}
	if want := []string{"a.TestX (there)"}; !slices.Equal(r.failures, want) {
		t.Errorf("the failures are %q", r.failures)
	}
}

func TestVerboseOutputIsPrintedOnceAsItComes(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out, true)
	readRing(t, r, "ring", passes+fails)
	for _, want := range []string{"said by the test\n", "the reason\n"} {
		if n := strings.Count(out.String(), want); n != 1 {
			t.Errorf("%q is printed %d times", want, n)
		}
	}
}

func TestAPackageThatDoesNotBuildFailsWithTheCompilersWords(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out, false)
	readRing(t, r, "here", `{"ImportPath":"m/c","Action":"build-output","Output":"c.go:1:2: undefined: Client\n"}
{"ImportPath":"m/c","Action":"build-fail"}
{"Action":"start","Package":"m/a"}
{"Action":"fail","Package":"m/a","FailedBuild":"m/c"}
`)
	checkTotals(t, r, 0, 1, 0)
	if !strings.Contains(out.String(), "undefined: Client") {
		t.Errorf("the report is %q", &out)
	}
}

func TestAPackageWithoutTestsDoesNotCount(t *testing.T) {
	r := newReport(new(bytes.Buffer), false)
	readRing(t, r, "here", `{"Action":"output","Package":"m/a","Output":"?   m/a [no test files]\n"}
{"Action":"skip","Package":"m/a"}
`)
	checkTotals(t, r, 0, 0, 0)
	if r.success(true) {
		t.Error("nothing ran and it is a success")
	}
}

func TestWhatIsNoEventIsPrinted(t *testing.T) {
	var out bytes.Buffer
	readRing(t, newReport(&out, false), "here", "go: no such tool\n"+passes)
	if !strings.HasPrefix(out.String(), "go: no such tool\n") {
		t.Errorf("the report is %q", &out)
	}
}

func TestInTheMachineTheExitStatusDecides(t *testing.T) {
	open := strings.Join(strings.SplitAfter(passes, "\n")[:1], "") // begun and not ended
	tests := []struct {
		name, events, why       string
		passed, failed, skipped int
	}{
		{"passed", passes, "", 1, 0, 0},
		{"passed, and yet status 3", passes, "exit status 3", 1, 1, 0},
		{"died in a test", open, "the machine went off", 0, 1, 0},
		{"died before the first test", "", "the machine went off", 0, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			r := newReport(&out, false)
			g := newRing(r, "there", module{Path: "m"}, false)
			g.piped = true
			if err := g.read(strings.NewReader(tt.events)); err != nil {
				t.Fatal(err)
			}
			checkTotals(t, r, 0, 0, 0) // not before the end
			g.end("m/a", tt.why)
			checkTotals(t, r, tt.passed, tt.failed, tt.skipped)
			if !strings.Contains(out.String(), tt.why) {
				t.Errorf("the report is %q", &out)
			}
		})
	}
}

func TestBenchmarkLinesArePrintedWhole(t *testing.T) {
	var out bytes.Buffer
	g := newRing(newReport(&out, false), "there", module{Path: "m"}, true)
	err := g.read(strings.NewReader(`{"Action":"output","Package":"m/a","Output":"goos: linux\n"}
{"Action":"run","Package":"m/a","Test":"BenchmarkX"}
{"Action":"output","Package":"m/a","Test":"BenchmarkX","Output":"=== RUN   BenchmarkX\n"}
{"Action":"output","Package":"m/a","Test":"BenchmarkX","Output":"BenchmarkX-2   \t"}
{"Action":"output","Package":"m/a","Test":"BenchmarkX","Output":"  100\t 17 ns/op\n"}
{"Action":"pass","Package":"m/a"}
`))
	if err != nil {
		t.Fatal(err)
	}
	if want := "goos: linux\nBenchmarkX-2   \t  100\t 17 ns/op\n"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("got %q", &out)
	}
	checkTotals(t, g.report, 1, 0, 0)
}

func TestTheLastLineIsTheCount(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out, false)
	readRing(t, r, "here", passes)
	r.fail("check: go vet", "go vet", "a.go:1: no good")
	r.summary()
	if !strings.HasSuffix(out.String(), "\n   check: go vet\n1 passed, 1 failed, 0 skipped\n") {
		t.Errorf("the report is %q", &out)
	}
	if r.success(true) {
		t.Error("a failed check and it is a success")
	}
}

func TestReportsJoin(t *testing.T) {
	var out bytes.Buffer
	a, b := newReport(&out, false), newReport(io.Discard, false)
	a.record("m/x.TestOnce", outcome{passed: true}, "")
	a.record("m/x.TestTwice", outcome{passed: true}, "")
	b.record("m/x.TestTwice", outcome{failed: true}, "kernel 6.1")
	b.record("m/x.TestOther", outcome{skipped: true}, "kernel 6.1")
	a.join(b, "what b has printed")
	checkTotals(t, a, 1, 1, 1)
	a.summary()
	if want := "what b has printed\n== failed\n   m/x.TestTwice (kernel 6.1)\n1 passed, 1 failed, 1 skipped\n"; out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
}
