package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// An event is a line of go test -json (go doc test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a package that is built
	Test        string
	Output      string
	FailedBuild string
	Elapsed     float64 // seconds
}

// A ring collects what the tests of one ring print, package by package.
type ring struct {
	*report
	name   string
	module module
	bench  bool
	piped  bool                        // the events come from test2json, which does not know a program's exit status
	builds map[string]*strings.Builder // output of the compiler by import path
	runs   map[string]*packageRun
}

// A packageRun is the tests of a package in one ring.
type packageRun struct {
	start  time.Time
	output strings.Builder // of no test
	tests  []*testRun      // in the order of their starts
	line   string          // an unfinished line, when benchmarks are printed
}

// A testRun is a test that stands for itself, with all that is below it.
type testRun struct {
	name   string
	output strings.Builder
	action string // pass, fail, skip; empty while it runs
}

func newRing(r *report, name string, m module, bench bool) *ring {
	return &ring{
		report: r, name: name, module: m, bench: bench,
		builds: map[string]*strings.Builder{}, runs: map[string]*packageRun{},
	}
}

// read reads events to the end of in. What is no event is printed: it is go's
// own complaint.
func (g *ring) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				g.add(e)
			} else {
				g.print(string(line))
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// add takes one event.
func (g *ring) add(e event) {
	switch e.Action {
	case "build-output":
		b := g.builds[e.ImportPath]
		if b == nil {
			b = new(strings.Builder)
			g.builds[e.ImportPath] = b
		}
		b.WriteString(e.Output)
		return
	case "build-fail":
		return
	}
	p := g.run(e.Package)
	var t *testRun
	if e.Test != "" {
		t = p.test(e.Test)
	}
	switch e.Action {
	case "output":
		p.say(t, e.Output)
		if g.verbose {
			io.WriteString(g.w, e.Output)
		} else if g.bench {
			p.printBenchmarks(g.w, e.Output)
		}
	case "pass", "fail", "skip":
		if t == nil && !g.piped {
			g.finish(e, p)
		} else if t != nil && t.name == e.Test {
			t.action = e.Action
		}
	}
}

func (g *ring) run(importPath string) *packageRun {
	p := g.runs[importPath]
	if p == nil {
		p = &packageRun{start: time.Now()}
		g.runs[importPath] = p
	}
	return p
}

// test is the run of the test that stands for itself and has name in it.
func (p *packageRun) test(name string) *testRun {
	name, _, _ = strings.Cut(name, "/")
	for i := len(p.tests) - 1; i >= 0; i-- {
		if p.tests[i].name == name {
			return p.tests[i]
		}
	}
	t := &testRun{name: name}
	p.tests = append(p.tests, t)
	return t
}

// say keeps output for the case of a failure.
func (p *packageRun) say(t *testRun, output string) {
	if t != nil {
		t.output.WriteString(output)
	} else {
		p.output.WriteString(output)
	}
}

// benchmark is a line that benchstat reads.
var benchmark = regexp.MustCompile(`^(Benchmark\S+\s+[0-9]+\s|(goos|goarch|pkg|cpu): )`)

// printBenchmarks prints the whole lines that benchstat reads.
func (p *packageRun) printBenchmarks(w io.Writer, output string) {
	p.line += output
	for {
		line, rest, ok := strings.Cut(p.line, "\n")
		if !ok {
			return
		}
		if benchmark.MatchString(line) {
			fmt.Fprintln(w, line)
		}
		p.line = rest
	}
}

// finish counts and prints the end of a package.
func (g *ring) finish(e event, p *packageRun) {
	name := g.module.short(e.Package)
	failed := e.Action == "fail"
	var counts [3]int
	for _, t := range p.tests {
		if t.action == "" { // a benchmark has no end of its own
			t.action = "pass"
			if failed {
				t.action = "fail"
			}
		}
		o := outcome{passed: t.action == "pass", failed: t.action == "fail", skipped: t.action == "skip"}
		g.record(name+"."+t.name, o, g.name)
		for i, is := range []bool{o.passed, o.failed, o.skipped} {
			if is {
				counts[i]++
			}
		}
	}
	if len(p.tests) == 0 && !failed {
		return
	}
	if failed && counts[1] == 0 {
		g.record(name, outcome{failed: true}, g.name)
	}
	status := "ok"
	if failed {
		status = "FAIL"
		g.explain(e, p)
	}
	elapsed := took(p.start)
	if e.Elapsed > 0 { // go test prints packages in order, not when they run
		elapsed = fmt.Sprintf("%.1fs", e.Elapsed)
	}
	g.line(status, fmt.Sprintf("%-28s %3d passed, %d failed, %d skipped in %s", name, counts[0], counts[1], counts[2], elapsed), "")
}

// explain prints in full what a failed package printed, without the tests that
// passed; with -v all has been printed already.
func (g *ring) explain(e event, p *packageRun) {
	if b := g.builds[e.FailedBuild]; b != nil {
		g.print(b.String())
	}
	if g.verbose {
		return
	}
	for _, t := range p.tests {
		if t.action == "fail" {
			g.print(t.output.String())
		}
	}
	g.print(p.output.String())
}

// end ends a package whose end go does not tell; why is empty if it passed.
func (g *ring) end(importPath, why string) {
	p, e := g.run(importPath), event{Action: "pass", Package: importPath}
	if why != "" {
		e.Action = "fail"
		p.output.WriteString(why + "\n")
	}
	g.finish(e, p)
}

// silent tells whether not one test of the package has begun.
func (g *ring) silent(importPath string) bool { return len(g.run(importPath).tests) == 0 }
