package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/vm"
)

// The script that runs inside is run here, on folders of the test.
func TestScriptLeavesOutputAndStatusOfEachPackage(t *testing.T) {
	if _, err := exec.LookPath("timeout"); err != nil {
		t.Skip("the script needs the program timeout")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "it's a folder")
	write(t, filepath.Join(source, "testdata"), "the data\n", 0o644)
	write(t, filepath.Join(dir, "in/test/0"), "#!/bin/sh\ncat testdata\nprintf '%s|' \"$@\" $LVSKIT_PROMISED\n", 0o755)
	write(t, filepath.Join(dir, "in/test/1"), "#!/bin/sh\necho oh >&2\nexit 7\n", 0o755)
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &session{options: options{timeout: time.Minute, count: 2, run: "a b$"}}
	script := s.script([]program{{pkg{Dir: source}, 0}, {pkg{Dir: source}, 1}})
	script = strings.NewReplacer(vm.GuestIn, filepath.Join(dir, "in"), vm.GuestOut, filepath.Join(dir, "out")).Replace(script)
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]string{
		"0.log":  "the data\n-test.v=test2json|-test.paniconexit0|-test.timeout=1m0s|-test.count=2|-test.run=a b$|all|",
		"0.exit": "0\n",
		"1.log":  "oh\n",
		"1.exit": "7\n",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, "out", name)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestFollowCountsWhatTheMachineWrites(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go to convert the output")
	}
	const log = "\x16=== RUN   TestX\n    x_test.go:1: words\n\x16--- PASS: TestX (0.00s)\nPASS\n"
	tests := []struct {
		name, log, exit string
		goesOn          bool
		passed, failed  int
		want            string
	}{
		{"passed", log, "0\n", true, 1, 0, ""},
		{"killed in a test", "\x16=== RUN   TestX\n    x_test.go:1: words\n", "137\n", true, 0, 1, "words\nexit status 137\n"},
		{"the machine went off", "\x16=== RUN   TestX\n", "", false, 0, 1, "the machine went off"},
		{"it has tests and none ran", "PASS\n", "0\n", true, 0, 1, "none of its tests ran"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "0.log"), tt.log, 0o644)
			if tt.exit != "" {
				write(t, filepath.Join(dir, "0.exit"), tt.exit, 0o644)
			}
			write(t, filepath.Join(dir, "x_test.go"), "package x\n\nfunc TestX(t *testing.T) {}\n", 0o644)
			off := make(chan struct{})
			if !tt.goesOn {
				close(off)
			}
			var out bytes.Buffer
			s := &guest{session: &session{}, report: newReport(&out, false)}
			g := newRing(s.report, "there", s.module, false)
			g.piped = true
			p := program{pkg{ImportPath: "m/a", Dir: dir, TestGoFiles: []string{"x_test.go"}}, 0}
			if got := s.follow(t.Context(), g, dir, p, off); got != tt.goesOn {
				t.Errorf("the machine is on: %v", got)
			}
			checkTotals(t, s.report, tt.passed, tt.failed, 0)
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("the report is %q", &out)
			}
		})
	}
}

func TestLongTestsAreSharedByKernels(t *testing.T) {
	all := []program{
		{pkg{ImportPath: "m/examples/a"}, 0},
		{pkg{ImportPath: "m/examples/b"}, 1},
		{pkg{ImportPath: "m/examples/c"}, 2},
		{pkg{ImportPath: "m/health"}, 3},
		{pkg{ImportPath: "m/health/healthprom"}, 4},
		{pkg{ImportPath: "m/ipvs"}, 5},
		{pkg{ImportPath: "m/vrrp"}, 6},
	}
	for _, tt := range []struct {
		name    string
		kernels []string
		options options
		want    map[string]string // what the machine of a kernel runs
	}{
		{"everything", []string{"6.12", "6.1"}, options{patterns: []string{"./..."}}, map[string]string{"6.12": "03456", "6.1": "1245"}},
		{"one kernel", []string{"6.12"}, options{patterns: []string{"./..."}}, map[string]string{"6.12": "0123456"}},
		{"some packages", []string{"6.12", "6.1"}, options{patterns: []string{"./examples/..."}}, map[string]string{"6.12": "0123456", "6.1": "0123456"}},
		{"some tests", []string{"6.12", "6.1"}, options{patterns: []string{"./..."}, run: "X"}, map[string]string{"6.12": "0123456", "6.1": "0123456"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.kernels = tt.kernels
			s := &session{options: tt.options, module: module{Path: "m"}}
			for _, series := range tt.kernels {
				var got string
				for _, p := range s.share(all, series) {
					got += strconv.Itoa(p.n)
				}
				if got != tt.want[series] {
					t.Errorf("%s runs %s, want %s", series, got, tt.want[series])
				}
			}
		})
	}
}

func TestGrowingFileIsReadToItsEnd(t *testing.T) {
	dir := t.TempDir()
	g := &growing{path: filepath.Join(dir, "log"), whole: filepath.Join(dir, "exit"), off: make(chan struct{})}
	read := make(chan string)
	go func() {
		text, err := io.ReadAll(g)
		if err != nil {
			t.Error(err)
		}
		read <- string(text)
	}()
	write(t, g.path, "one", 0o644)
	f, err := os.OpenFile(g.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, s := range []string{" two", " three"} {
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
		select {
		case text := <-read:
			t.Fatalf("the reader ended early, after %q", text)
		case <-time.After(120 * time.Millisecond):
		}
	}
	write(t, g.whole, "0", 0o644)
	if text := <-read; text != "one two three" {
		t.Errorf("got %q", text)
	}
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
