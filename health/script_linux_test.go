package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// stage is where scripts are run: a folder with a copy of sleep by a name of its own,
// so that what scripts leave behind can be counted.
type stage struct {
	dir, name string
}

var stages atomic.Int64

func newStage(t testing.TB) stage {
	t.Helper()
	need.Program(t, "sh", "sleep", "setsid")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	s := stage{t.TempDir(), fmt.Sprintf("hc%ds%d", os.Getpid(), stages.Add(1))}
	if err := copyFile(filepath.Join(s.dir, s.name), sleep); err != nil {
		t.Fatal(err)
	}
	return s
}

// script is a shell script in which SLEEP is the program that is counted.
func (s stage) script(text string) Script {
	return Script{Path: "sh", Args: []string{"-c", strings.ReplaceAll(text, "SLEEP", "./"+s.name)}, Dir: s.dir}
}

// left is how many run.
func (s stage) left() (pids []int) {
	p := &Process{Name: s.name}
	pids, _ = p.scan(1 << 20)
	return pids
}

// none waits until none is left: killed processes take a moment.
func (s stage) none(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		left := s.left()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d processes are left: %v", len(left), left)
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return
		}
	}
}

// TestScriptsThatDoNotEnd are ended with all that they have started.
func TestScriptsThatDoNotEnd(t *testing.T) {
	const grace = 200 * time.Millisecond
	for name, text := range map[string]string{
		"a command":                      "SLEEP 300",
		"itself":                         "exec SLEEP 300",
		"ignores TERM":                   "trap '' TERM; SLEEP 300; SLEEP 300",
		"children ignore TERM":           "(trap '' TERM; SLEEP 300) & (trap '' TERM; SLEEP 300) & wait",
		"restarts its child":             "trap '' TERM; while :; do SLEEP 300; done",
		"double forks":                   "(SLEEP 300 & SLEEP 300 &) ; (SLEEP 300 & exec SLEEP 300)",
		"stops":                          "SLEEP 300 & kill -STOP $$",
		"children stop":                  "trap '' TERM; SLEEP 300 & kill -STOP $!; wait",
		"writes for ever":                "SLEEP 300 & while :; do echo yes; done",
		"exits 0 when it is told to end": "trap 'exit 0' TERM; SLEEP 300 & wait",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			script := s.script(text)
			script.Grace = grace
			// It has begun when the first child runs; then the timeout comes.
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			began := time.Now()
			report, err := script.Probe(ctx)
			took := time.Since(began)
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrInconclusive) || report != (Report{}) {
				t.Errorf("got %v, %v", report, err)
			}
			if limit := 15 * time.Second; took > limit {
				t.Errorf("it took %v", took)
			}
			s.none(t)
		})
	}
}

// What an ended script leaves in its group ends with it; its output is not waited for.
func TestScriptsThatLeaveSomething(t *testing.T) {
	s := newStage(t)
	for name, text := range map[string]string{
		"a child":                   "SLEEP 300 &",
		"with its output closed":    "SLEEP 300 >/dev/null 2>&1 &",
		"that ignores TERM and HUP": "(trap '' TERM HUP; SLEEP 300; SLEEP 300) &",
		"that is stopped":           "SLEEP 300 & kill -STOP $!",
		"twice forked":              "(SLEEP 300 & SLEEP 300 &)",
	} {
		if _, err := s.script(text).Probe(t.Context()); err != nil {
			t.Errorf("%s: got %v", name, err)
		}
		s.none(t)
	}
	began := time.Now()
	if _, err := s.script("setsid ./" + s.name + " 300 & while :; do [ -e /proc/$!/cwd ] && exit 0; done").Probe(t.Context()); err != nil {
		t.Errorf("a session of its own: got %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a session of its own: its output was waited for %v", took)
	}
	for _, pid := range s.left() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.none(t)
}

func TestWhatAScriptIsGiven(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		s    Script
		want string // at the end of the error; "" is a pass
	}{
		{"success", Script{Path: "true"}, ""},
		{"failure", Script{Path: "false"}, "exit status 1"},
		{"arguments", Script{Path: "sh", Args: []string{"-c", `echo "$0 $1" >&2; exit 9`, "a b", "c"}}, `exit status 9: it says "a b c"`},
		{"a folder", Script{Path: "sh", Args: []string{"-c", `pwd; false`}, Dir: dir}, `exit status 1: it says "` + dir + `"`},
		{"an environment", Script{Path: "sh", Args: []string{"-c", `echo $MARK; false`}, Env: []string{"MARK=x y"}}, `it says "x y"`},
		{"no input", Script{Path: "sh", Args: []string{"-c", `read line && echo $line`}}, "exit status 1"},
		{"a group of its own", Script{Path: "sh", Args: []string{"-c", `read a b c d pgrp e < /proc/$$/stat; [ $pgrp = $$ ]`}}, ""},
		{"a signal", Script{Path: "sh", Args: []string{"-c", `echo x; kill -SEGV $$`}}, `signal: segmentation fault: it says "x"`},
		{"a signal, dynamic", Script{Path: "sh", Args: []string{"-c", `kill -KILL $$`}, Dynamic: true}, `signal: killed`},
		{"much output", Script{Path: "sh", Args: []string{"-c", `i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exit 4`}}, `19999"`},
		{"bytes", Script{Path: "sh", Args: []string{"-c", `printf '\377\000\033[2J'; exit 4`}}, `"` + "\uFFFD" + `\x00\x1b[2J"`},
	} {
		_, err := tt.s.Probe(t.Context())
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: got %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.want) || errors.Is(err, ErrInconclusive) || len(err.Error()) > 4*outputMax):
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestScriptsThatCannotRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "#!/bin/sh\nexit 0\n", 0o700)
	for _, tt := range []struct {
		name            string
		s               Script
		validate, probe error // nil passes
	}{
		{"absent", Script{Path: filepath.Join(dir, "absent")}, fs.ErrNotExist, fs.ErrNotExist},
		{"not in PATH", Script{Path: "hc-absent"}, exec.ErrNotFound, exec.ErrNotFound},
		{"not executable", Script{Path: write("plain", "#!/bin/sh\n", 0o600)}, fs.ErrPermission, fs.ErrPermission},
		{"a folder", Script{Path: dir}, nil, fs.ErrPermission},
		{"of an absent interpreter", Script{Path: write("odd", "#!/nowhere/sh\n", 0o700)}, nil, fs.ErrNotExist},
		{"of no format", Script{Path: write("text", "hello\n", 0o700)}, nil, syscall.ENOEXEC},
		{"in an absent folder", Script{Path: "true", Dir: filepath.Join(dir, "absent")}, nil, fs.ErrNotExist},
		{"relative", Script{Path: "./good", Dir: dir}, nil, nil},
		{"relative and absent", Script{Path: "./absent", Dir: dir}, fs.ErrNotExist, fs.ErrNotExist},
		{"good", Script{Path: good}, nil, nil},
	} {
		err := tt.s.Validate()
		if tt.name != "a folder" && !errors.Is(err, tt.validate) {
			t.Errorf("%s: Validate says %v, want %v", tt.name, err, tt.validate)
		}
		_, err = tt.s.Probe(t.Context())
		if !errors.Is(err, tt.probe) || errors.Is(err, ErrInconclusive) {
			t.Errorf("%s: Probe says %v, want %v", tt.name, err, tt.probe)
		}
	}
	busy, err := os.OpenFile(good, os.O_WRONLY, 0) // someone is writing it
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if _, err := (Script{Path: good}).Probe(t.Context()); !errors.Is(err, ErrInconclusive) || !errors.Is(err, syscall.ETXTBSY) {
		t.Errorf("being written: got %v", err)
	}
	if _, err := (Script{Path: "true", NetNS: "/nowhere"}).Probe(t.Context()); !errors.Is(err, ErrInconclusive) {
		t.Errorf("in no namespace: got %v", err)
	}
}

func TestScriptOfAnotherUser(t *testing.T) {
	need.Root(t)
	script := func(c *Credential) Script {
		return Script{Path: "sh", Args: []string{"-c", "id -u; id -G; false"}, Credential: c}
	}
	m, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(string(m)); len(f) < 3 || f[2] == "1" { // only root is mapped here
		if _, err := script(&Credential{UID: 65534, GID: 65534}).Probe(t.Context()); !errors.Is(err, ErrInconclusive) {
			t.Errorf("got %v", err)
		}
		return
	}
	_, err = script(&Credential{UID: 65534, GID: 65533, Groups: []uint32{5}}).Probe(t.Context())
	if err == nil || !strings.Contains(err.Error(), `"65534\n65533 5"`) {
		t.Errorf("got %v", err)
	}
}

func TestScriptInANetworkNamespace(t *testing.T) {
	need.Root(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
	script := Script{Path: "sh", Args: []string{"-c", "readlink /proc/self/ns/net; false"}, NetNS: path}
	_, err = script.Probe(t.Context())
	home, lerr := os.Readlink("/proc/self/ns/net")
	if lerr != nil || err == nil || !strings.Contains(err.Error(), "net:[") || strings.Contains(err.Error(), home) {
		t.Errorf("got %v, home is %s", err, home)
	}
}

// A cancelled probe ends the script, and says nothing.
func TestACancelledScript(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.script("trap '' TERM; SLEEP 300; SLEEP 300").Probe(ctx)
		done <- err
	}()
	for deadline := time.Now().Add(30 * time.Second); len(s.left()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not begin")
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, ErrInconclusive) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.none(t)
}

// An answer that was there in time counts, though we notice late: a script that has
// ended is not told to end.
func TestAScriptThatHasEndedIsNotKilled(t *testing.T) {
	cmd := Script{Path: "true"}.command(&tail{})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := waitid(cmd.Process.Pid, nil, 0); err != nil {
		t.Fatal(err)
	}
	g := &group{pid: cmd.Process.Pid}
	g.terminate(time.Hour, nil)
	if g.signal(syscall.SIGTERM) || g.killed {
		t.Error("it was told to end")
	}
	g.end()
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v", err)
	}
}
