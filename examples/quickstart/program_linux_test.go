package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/examples/internal/director"
	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// slack is how much later than promised what depends on the machine may be, in
// milliseconds. One that stood still itself is only asked to come to the end.
func (r result) slack() float64 {
	switch {
	case r.StalledMS > busy:
		return ms(patience)
	case need.Emulated():
		return 5000
	}
	return 500
}

// TestTheShowOfTheKernel runs the program as a script would, and checks its result.
func TestTheShowOfTheKernel(t *testing.T) {
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
	r := read(t, out)
	if r.Dataplane != director.Kernel {
		t.Errorf("the dataplane is %s: %s", r.Dataplane, r.Reason)
	}
	if r.BoundMS != 3648.4 || r.SilenceMS < 3000 {
		t.Errorf("the bound is %v ms, want 3648.4; the silence was %v ms, want 3 intervals of a second at least", r.BoundMS, r.SilenceMS)
	}
	r.check(t)
}

// TestTheShowOfAnOrdinaryUser runs it where there is nothing but the program, and no
// right. The machine may have ip_vs or not.
func TestTheShowOfAnOrdinaryUser(t *testing.T) {
	if need.Emulated() {
		t.Skip("it needs nothing that only this machine has")
	}
	cmd := inCell(t, bin.Path(t, "quickstart"), "-json", "-rate", "50")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if strings.Contains(stderr.String(), "lab: enter a user namespace") {
			t.Skipf("no user namespaces here: %s", stderr.String())
		}
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	r := read(t, stdout.String())
	if r.Dataplane != director.Userspace || r.Reason == "" {
		t.Errorf("the dataplane is %s: %q", r.Dataplane, r.Reason)
	}
	if r.BoundMS != 912.1 || r.SilenceMS < 750 {
		t.Errorf("the bound is %v ms, want 912.1; the silence was %v ms, want 3 intervals of 250 ms at least", r.BoundMS, r.SilenceMS)
	}
	r.check(t)
}

// read reads what -json printed.
func read(t *testing.T, out string) (r result) {
	t.Helper()
	t.Log(out)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("the output is not one JSON object: %v\n%s", err, out)
	}
	return r
}

// check compares what was measured with what was promised.
func (r result) check(t *testing.T) {
	t.Helper()
	if len(r.LeftBehind) > 0 {
		t.Errorf("left behind %q", r.LeftBehind)
	}
	if r.TakeoverMS <= 0 || r.TakeoverMS > r.BoundMS+r.slack() {
		t.Errorf("the take-over took %v ms, the bound is %v ms", r.TakeoverMS, r.BoundMS)
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

// excused tells whether what was lost in a phase may be due to the machine: a busy one,
// or one that is emulated, may be too slow for the second that an answer may take.
func (r result) excused(p phase) bool {
	late := p.Causes["no answer within 1s"]
	return p.Failed == 0 || p.Failed == late && (r.StalledMS > busy || need.Emulated() && late*4 <= p.Requests)
}

// TestCtrlCEndsWell interrupts the show, and ends a cluster that is held, with the
// dataplane that this machine has.
func TestCtrlCEndsWell(t *testing.T) {
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
		shell := func(command string) (string, error) { return machine.Run(t.Context(), "sh", "-c", command) }
		tryHints(t, p.Output(), shell)
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
func tryHints(t *testing.T, output string, shell func(command string) (string, error)) {
	t.Helper()
	need.Program(t, "nsenter", "curl", "ip")
	commands := map[string]string{}
	for _, m := range hint.FindAllStringSubmatch(output, -1) {
		commands[m[1]] = m[2]
	}
	for _, tt := range []struct{ what, want string }{
		{"the table of director1", "192.168.247.136"},
		{"the addresses of director1", "192.168.247.188"},
		{"ask as the client", "web"},
	} {
		command := commands[tt.what]
		if command == "" {
			t.Errorf("there is no hint about %s in\n%s", tt.what, output)
			continue
		}
		if strings.Contains(command, "ipvsadm") {
			need.Program(t, "ipvsadm")
		}
		if out, err := shell(command); err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s printed\n%s\nwithout %s (%v)", command, out, tt.want, err)
		}
	}
}

// TestAnOrdinaryUserLooksIntoTheCluster types the hints as the user whose cluster
// it is.
func TestAnOrdinaryUserLooksIntoTheCluster(t *testing.T) {
	if need.Emulated() {
		t.Skip("it needs nothing that only this machine has")
	}
	needUsers(t)
	program := filepath.Join("/tmp", filepath.Base(t.TempDir())+"-quickstart") // where others may read
	text, err := os.ReadFile(bin.Path(t, "quickstart"))
	if err == nil {
		err = os.WriteFile(program, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(program) })
	asNobody := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd
	}
	cmd := asNobody(program, "-hold", "-rate", "20")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), "the cluster is yours") {
		fmt.Fprintln(&output, lines.Text())
	}
	if output.Len() > 0 {
		tryHints(t, output.String(), func(command string) (string, error) {
			out, err := asNobody("sh", "-c", command).CombinedOutput()
			return string(out), err
		})
	}
	cmd.Process.Signal(syscall.SIGINT) // unless it has ended
	for lines.Scan() {
		fmt.Fprintln(&output, lines.Text())
	}
	switch err := cmd.Wait(); {
	case strings.Contains(stderr.String(), "lab: enter a user namespace"):
		t.Skipf("no user namespaces here: %s", stderr.String())
	case err != nil || !strings.Contains(output.String(), "left behind   nothing"):
		t.Errorf("it ended with %v\n%s%s", err, output.String(), stderr.String())
	}
}

// TestItSaysAtOnceWhatIsMissing asks for what is not there.
func TestItSaysAtOnceWhatIsMissing(t *testing.T) {
	if need.Emulated() {
		t.Skip("all is there")
	}
	program := bin.Path(t, "quickstart")
	says := func(t *testing.T, cmd *exec.Cmd, words ...string) {
		t.Helper()
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("it ended with %v, want exit status 1", err)
		}
		if stdout.Len() > 0 {
			t.Errorf("it printed a result: %s", stdout.String())
		}
		for _, want := range append(words, "go run ./internal/cmd/vmtest -exec quickstart") {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("the message lacks %q:\n%s", want, stderr.String())
			}
		}
	}
	t.Run("no user namespace", func(t *testing.T) {
		says(t, whereForbidden(program, "-json"), "user.max_user_namespaces", "sudo", "--privileged")
	})
	t.Run("no kernel", func(t *testing.T) {
		need.Root(t)
		need.NoIPVS(t)
		says(t, exec.Command(program, "-json", "-dataplane", "kernel"), "the kernel has no ip_vs", "Without -dataplane")
	})
}
