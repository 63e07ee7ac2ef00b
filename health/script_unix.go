//go:build unix

package health

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// executable tells whether the program is there and may be executed.
func (s Script) executable() error {
	path := s.Path
	if strings.Contains(path, "/") && !filepath.IsAbs(path) {
		path = filepath.Join(s.Dir, path)
		if !strings.Contains(path, "/") {
			path = "./" + path
		}
	}
	_, err := exec.LookPath(path)
	var e *exec.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return err
}

// scriptFault marks what keeps this machine from running a script.
func scriptFault(err error) error {
	var p *fs.PathError
	switch {
	case errors.Is(err, ErrInconclusive):
		return err
	case errors.As(err, &p) && p.Op == "fork/exec":
		err = p.Err
	}
	if errors.Is(err, syscall.ETXTBSY) { // it is being written
		return inconclusive(err)
	}
	return fault(err)
}

// command prepares the program.
func (s Script) command(out *tail) *exec.Cmd {
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env, cmd.Dir = s.Env, s.Dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = outputWait
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c := s.Credential; c != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
	}
	return cmd
}

// group is the process group of a script whose first process has not been reaped, so
// that its number is nobody else's.
type group struct {
	mu     sync.Mutex // guards what is below
	pid    int
	ended  bool // the first process
	killed bool // it was told to end
}

// signal sends a signal to all of the group, while there is one; false if its first
// process has ended.
func (g *group) signal(sig syscall.Signal) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || hasEnded(g.pid) {
		return false
	}
	g.killed = true
	_ = syscall.Kill(-g.pid, sig) // it is there
	return true
}

// end kills what is left of the group of an ended script.
func (g *group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	_ = syscall.Kill(-g.pid, syscall.SIGKILL) // most leave nothing: ESRCH
}

// terminate tells the group to end, and after a time makes it.
func (g *group) terminate(grace time.Duration, done <-chan struct{}) {
	if grace > 0 {
		if !g.signal(syscall.SIGTERM) || !g.signal(syscall.SIGCONT) {
			return
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-done:
			return
		case <-timer.C:
		}
	}
	g.signal(syscall.SIGKILL)
}

// execute starts the command and waits until nothing of its group is left.
func (s Script) execute(ctx context.Context, cmd *exec.Cmd) (ending, error) {
	if err := cmd.Start(); err != nil {
		return ending{}, err
	}
	g := &group{pid: cmd.Process.Pid}
	done, terminated := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(terminated)
		g.terminate(s.grace(), done)
	})
	err := wait(cmd, func() {
		close(done)
		g.end()
	})
	if !stop() {
		<-terminated
	}
	state := cmd.ProcessState
	var exit *exec.ExitError
	if err != nil && (state == nil || !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay)) {
		return ending{}, inconclusive(err)
	}
	return ending{state.ExitCode(), state.String(), g.killed}, nil
}
