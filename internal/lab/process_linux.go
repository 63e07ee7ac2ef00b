package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/internal/netns"
)

// sbin are the folders of network programs, which an ordinary user's PATH
// often lacks.
const sbin = "/usr/local/sbin:/usr/sbin:/sbin"

// pipeDelay is how long the output of an ended program is awaited when a
// daemon that it left keeps it open.
const pipeDelay = time.Second

// Process is a program that runs on a host.
type Process struct {
	host *Host
	cmd  *exec.Cmd
	out  output
	done chan struct{}
	err  error // once done is closed
}

// Run runs a program on the host to its end and returns its standard output.
// The error of one that ends badly has its standard error, and matches
// *exec.ExitError. When ctx ends, the program and its children are killed.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.lab.ctx, cancel)()
	var stdout, stderr bytes.Buffer
	cmd, err := command(ctx, name, args, &stdout, &stderr)
	if err == nil {
		err = h.lab.use(func() error { return h.fork(cmd) })
	}
	if err == nil {
		defer h.lab.users.Done()
		if err = waitCommand(cmd); err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	if err != nil {
		text := strings.Join(append([]string{name}, args...), " ")
		return stdout.String(), fmt.Errorf("lab: run %s on %s: %w: %s", text, h.name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// Start starts a program on the host, in a process group of its own. Programs
// that make themselves daemons are better told to stay in the foreground.
// A program that is not there matches exec.ErrNotFound.
func (h *Host) Start(name string, args ...string) (*Process, error) {
	p := &Process{host: h, done: make(chan struct{}), out: output{changed: make(chan struct{})}}
	var err error
	if p.cmd, err = command(h.lab.ctx, name, args, &p.out, &p.out); err == nil {
		err = h.lab.use(func() error {
			if err := h.fork(p.cmd); err != nil {
				return err
			}
			h.lab.processes = append(h.lab.processes, p)
			return nil
		})
	}
	if err != nil {
		return nil, h.wrap("start "+name, err)
	}
	h.lab.log.Debug("process started", "host", h.name, "program", name, "pid", p.cmd.Process.Pid)
	go func() {
		defer h.lab.users.Done()
		p.err = waitCommand(p.cmd)
		close(p.done)
	}()
	return p, nil
}

// command prepares a program that dies with its group when ctx ends.
func command(ctx context.Context, name string, args []string, stdout, stderr io.Writer) (*exec.Cmd, error) {
	path, err := lookPath(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Args[0] = name
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":"+sbin)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = pipeDelay
	return cmd, nil
}

func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || filepath.Base(name) != name {
		return path, err
	}
	for _, dir := range filepath.SplitList(sbin) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// fork starts cmd from the lab's forking thread, with the lab locked. The
// caller must wait for cmd and then release lab.users.
func (h *Host) fork(cmd *exec.Cmd) error {
	done := make(chan error)
	h.lab.forks <- func() {
		err := netns.Enter(h.space.file)
		if err == nil {
			h.startWatchdog()
			err = cmd.Start()
		}
		done <- err
	}
	if err := <-done; err != nil {
		return err
	}
	h.lab.users.Add(1)
	return nil
}

// waitCommand is cmd.Wait for a program whose children may hold its output.
func waitCommand(cmd *exec.Cmd) error {
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

func killGroup(pid int) error {
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		return os.ErrProcessDone
	}
	return nil
}

// Host is where the process runs.
func (p *Process) Host() *Host { return p.host }

// String is the command line.
func (p *Process) String() string { return strings.Join(p.cmd.Args, " ") }

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal to the program, not to its children.
// One that has ended matches os.ErrProcessDone.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill kills the program and its process group, as SIGKILL does, and waits
// for the program's end. It may have ended already.
func (p *Process) Kill() error {
	killGroup(p.cmd.Process.Pid)
	<-p.done
	return nil
}

// Wait waits for the program's end. One that ends badly, also by a signal,
// matches *exec.ExitError. The end of ctx leaves it running.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return p.fail("wait for", ctx.Err())
	}
}

// Output is what the program has written so far, standard output and standard
// error together.
func (p *Process) Output() string {
	text, _ := p.out.read()
	return text
}

// WaitOutput waits until the program has written text. It is an error if it
// ends without, or ctx does.
func (p *Process) WaitOutput(ctx context.Context, text string) error {
	for {
		ended := false
		select {
		case <-p.done:
			ended = true
		default:
		}
		have, changed := p.out.read()
		if strings.Contains(have, text) {
			return nil
		}
		if ended {
			return p.fail("await "+text+" of", fmt.Errorf("it ended: %w", errors.Join(p.err, errNoOutput)))
		}
		select {
		case <-changed:
		case <-p.done:
		case <-ctx.Done():
			return p.fail("await "+text+" of", ctx.Err())
		}
	}
}

var errNoOutput = errors.New("without that output")

func (p *Process) fail(what string, err error) error {
	return fmt.Errorf("lab: %s %q on %s: %w; its output:\n%s", what, p, p.host.name, err, p.Output())
}

// output keeps what a program writes and tells who waits for it.
type output struct {
	mu      sync.Mutex // guards what follows
	text    []byte
	changed chan struct{} // closed at the next write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(b), nil
}

func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text), o.changed
}
