package lab_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
)

func TestRun(t *testing.T) {
	p := newPair(t)
	if out, err := p.a.Run(p.ctx, "sh", "-c", "echo out; echo err >&2"); err != nil || out != "out\n" {
		t.Errorf("got %q, %v", out, err)
	}
	var exit *exec.ExitError
	out, err := p.a.Run(p.ctx, "sh", "-c", "echo out; echo bad luck >&2; exit 3")
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || out != "out\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if err == nil || !strings.Contains(err.Error(), "bad luck") || !strings.Contains(err.Error(), "on a") {
		t.Errorf("the error has neither what the program said nor where it ran: %v", err)
	}
	if _, err := p.a.Run(p.ctx, "no-such-program"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := p.a.Start("/no/such/program"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that is not there: %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	p := newPair(t)
	ctx, cancel := context.WithTimeout(p.ctx, 20*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := p.a.Run(ctx, "sh", "-c", "sleep 1000; true")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestSbinIsFoundWithoutPath(t *testing.T) {
	p := newPair(t)
	t.Setenv("PATH", "/usr/bin:/bin")
	if out := labtest.Run(t, p.a, "ip", "-o", "addr", "show", "dev", "eth0"); !strings.Contains(out, "10.0.0.1/24") {
		t.Errorf("ip shows %q", out)
	}
}

func TestProcess(t *testing.T) {
	p := newPair(t)
	proc := labtest.Start(t, p.a, "ready", "sh", "-c", `trap 'echo got it; exit 7' USR1; echo ready >&2; while :; do sleep 0.01; done`)
	if all := p.lab.Processes(); len(all) != 1 || all[0] != proc || proc.Host() != p.a || !strings.HasPrefix(proc.String(), "sh -c") {
		t.Errorf("processes: %v", all)
	}
	ended, cancel := context.WithCancel(p.ctx)
	cancel()
	if err := proc.Wait(ended); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "ready") {
		t.Errorf("an ended wait: %v", err)
	}
	if err := proc.WaitOutput(ended, "never"); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended wait for output: %v", err)
	}
	if err := proc.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := proc.WaitOutput(p.ctx, "got it"); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := proc.Wait(p.ctx); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("status 7 came as %v", err)
	}
	if err := proc.WaitOutput(p.ctx, "never"); !errors.As(err, &exit) {
		t.Errorf("waiting for output of an ended process: %v", err)
	}
	if out := proc.Output(); out != "ready\ngot it\n" {
		t.Errorf("output %q", out)
	}
	if err := proc.Signal(syscall.SIGUSR1); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a signal to an ended process: %v", err)
	}
}

func TestKillEndsChildren(t *testing.T) {
	p := newPair(t)
	proc := labtest.Start(t, p.a, "\n", "sh", "-c", "sleep 1000 & echo $!; wait")
	child := pidOf(t, proc.Output())
	if !alive(child) {
		t.Fatal("the child does not run")
	}
	if err := proc.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child ends", func() bool { return !alive(child) })
	if err := proc.Kill(); err != nil {
		t.Errorf("a second Kill: %v", err)
	}
}

func pidOf(t *testing.T, text string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// alive tells whether a process runs: one that nobody has waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// eventually waits for what another process or the kernel does in its time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came true that %s", what)
		}
	}
}
