package main

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// slack is how much later than promised what depends on the machine may be, in
// milliseconds. One that stood still itself is only asked to come to the end.
func (r result) slack() float64 {
	switch {
	case need.Emulated() && r.StalledMS > busy:
		return ms(patience)
	case need.Emulated():
		return 5000
	}
	return 500
}

// TestTheShow runs the program as a script would, and checks its result.
func TestTheShow(t *testing.T) {
	need.IPVS(t)
	program := bin.Path(t, "quickstart")
	machine := labtest.Host(t, labtest.New(t), "machine")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	// A result on the standard output, the timeline on the other.
	out, err := machine.Run(ctx, program, "-json", "-rate", "20", "-interval", "1s")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	var r result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("the output is not one JSON object: %v\n%s", err, out)
	}
	if r.Dataplane != kernel || len(r.LeftBehind) > 0 {
		t.Errorf("dataplane %q, left behind %q", r.Dataplane, r.LeftBehind)
	}
	if r.BoundMS != 3648.4 {
		t.Errorf("the bound is %v ms, want 3648.4", r.BoundMS)
	}
	if r.SilenceMS < 3000 || r.TakeoverMS <= 0 || r.TakeoverMS > r.BoundMS+r.slack() {
		t.Errorf("the take-over took %v ms, the bound is %v ms; the silence was %v ms, want 3 intervals of a second at least",
			r.TakeoverMS, r.BoundMS, r.SilenceMS)
	}
	if r.OutageMS <= 0 || r.OutageMS > r.BoundMS+r.slack() {
		t.Errorf("there was no answer for %v ms, the bound is %v ms", r.OutageMS, r.BoundMS)
	}
	if r.ServerOutMS <= 0 || r.ServerOutMS > r.ServerOutBoundMS+r.slack() {
		t.Errorf("the server was out after %v ms, its check promises %v ms", r.ServerOutMS, r.ServerOutBoundMS)
	}
	r.checkRequests(t)
}

// checkRequests compares the counts with each other, and with the story.
func (r result) checkRequests(t *testing.T) {
	t.Helper()
	if len(r.Phases) != 7 {
		t.Fatalf("the story has %d phases, want 7", len(r.Phases))
	}
	requests, failed := 0, 0
	for _, p := range r.Phases {
		requests, failed = requests+p.Requests, failed+p.Failed
		if p.Why == "" && !r.excused(p) {
			t.Errorf("%d of %d requests were lost while %s: %v; none should be", p.Failed, p.Requests, p.Name, p.Causes)
		}
	}
	answered := 0
	for _, w := range webs {
		if r.Answers[w.name] == 0 {
			t.Errorf("%s never answered", w.name)
		}
		answered += r.Answers[w.name]
	}
	if r.Requests < 100 || requests != r.Requests || failed != r.Failed || answered+failed != requests {
		t.Errorf("%d requests and %d failed; by phases %d and %d; %d answered", r.Requests, r.Failed, requests, failed, answered)
	}
	if r.Phases[1].Failed == 0 || r.Phases[3].Failed == 0 {
		t.Errorf("%d requests were lost by the dead server and %d by the dead director: did they die?", r.Phases[1].Failed, r.Phases[3].Failed)
	}
}

// excused tells whether what was lost in a phase may be due to the machine: an
// emulated one beside others may be too slow for the second that an answer may take.
func (r result) excused(p phase) bool {
	late := p.Causes["no answer within 1s"]
	return p.Failed == 0 || need.Emulated() && p.Failed == late && (r.StalledMS > busy || late*4 <= p.Requests)
}

// TestCtrlCEndsWell interrupts the show, and ends a cluster that is held.
func TestCtrlCEndsWell(t *testing.T) {
	need.IPVS(t)
	program := bin.Path(t, "quickstart")
	machine := labtest.Host(t, labtest.New(t), "machine")
	t.Run("in the show", func(t *testing.T) {
		p := labtest.Start(t, machine, "the client begins to send", program, "-rate", "20")
		end(t, p, 1)
		for _, want := range []string{"quickstart: interrupted", "left behind: nothing"} {
			if !strings.Contains(p.Output(), want) {
				t.Errorf("the output lacks %q:\n%s", want, p.Output())
			}
		}
	})
	t.Run("of a cluster that is held", func(t *testing.T) {
		p := labtest.Start(t, machine, "the cluster is yours", program, "-hold", "-rate", "20")
		tryHints(t, machine, p)
		end(t, p, 0)
		if !strings.Contains(p.Output(), "left behind   nothing") {
			t.Errorf("the output does not tell that nothing is left:\n%s", p.Output())
		}
	})
}

// end presses Ctrl-C.
func end(t *testing.T, p *lab.Process, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	got := 0
	if err := p.Wait(ctx); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != status {
		t.Errorf("exit status %d, want %d:\n%s", got, status, p.Output())
	}
}

// hint is a line that tells a person what to type.
var hint = regexp.MustCompile(`(?m)^  (\S.*?\S) {2,}(nsenter .*)$`)

// tryHints types what the program says that one can type.
func tryHints(t *testing.T, h *lab.Host, p *lab.Process) {
	t.Helper()
	commands := map[string]string{}
	for _, m := range hint.FindAllStringSubmatch(p.Output(), -1) {
		commands[m[1]] = m[2]
	}
	for _, tt := range []struct{ what, program, want string }{
		{"the table of director1", "ipvsadm", "192.168.247.136:80"},
		{"the addresses of director1", "ip", "192.168.247.188"},
		{"ask as the client", "curl", "web"},
	} {
		need.Program(t, "nsenter", tt.program)
		if commands[tt.what] == "" {
			t.Errorf("there is no hint about %s in\n%s", tt.what, p.Output())
			continue
		}
		if out := labtest.Run(t, h, "sh", "-c", commands[tt.what]); !strings.Contains(out, tt.want) {
			t.Errorf("%s printed\n%s\nwithout %s", commands[tt.what], out, tt.want)
		}
	}
}

// TestItSaysAtOnceWhatIsMissing runs the program where there is no ip_vs.
func TestItSaysAtOnceWhatIsMissing(t *testing.T) {
	need.NoIPVS(t)
	var stdout, stderr strings.Builder
	cmd := exec.Command(bin.Path(t, "quickstart"), "-json")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit status 1", err)
	}
	if stdout.Len() > 0 {
		t.Errorf("it printed a result: %s", stdout.String())
	}
	for _, want := range []string{
		"it needs root and a kernel with ip_vs", "go run ./internal/cmd/vmtest -exec quickstart", "go run ./internal/cmd/vmtest -shell",
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("the message lacks %q:\n%s", want, stderr.String())
		}
	}
}
