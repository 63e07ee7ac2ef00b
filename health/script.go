package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Script runs a program: exit code 0 passes, another one, or a signal, fails with an
// *ExitError (keepalived: MISC_CHECK, vrrp_script).
//
// The program has a process group of its own. When the context ends, the group is
// sent TERM (and CONT, if it was stopped), and after Grace KILL; what the program left
// running in its group when it ended by itself is killed at once. What has made
// itself a session of its own (setsid, a daemon) is left alone. Probe therefore
// returns up to Grace and half a second later than its deadline; and only if the
// kernel cannot end the program, because a disk or a file server hangs, not even
// then: one script is never run twice at once for that.
//
// If this process dies, the program is killed (Linux), but not its children.
//
// A script that is not there or must not be executed fails: it is wrong until someone
// mends it. That this machine cannot run it now (EAGAIN, no memory, no descriptors, a
// file being written, no right to change the user) is inconclusive.
type Script struct {
	// Path is the program: a path, or a name that is looked for in PATH. A relative path
	// is relative to Dir.
	Path string
	// Args are its arguments, without the program's name.
	Args []string
	// Env is its environment, as "NAME=value"; nil is that of this process.
	Env []string
	// Dir is its working directory; "" is that of this process.
	Dir string
	// Credential is the user it runs as; nil is that of this process. It takes
	// CAP_SETUID and CAP_SETGID. Not on Windows.
	Credential *Credential
	// NetNS is the path of the network namespace that it runs in; "" is the caller's.
	// It takes Linux and CAP_SYS_ADMIN.
	NetNS string
	// Dynamic gives the exit codes their meaning in keepalived's misc_dynamic: 0 passes,
	// 1 fails, 2 to 255 pass with a Report.Weight that sets the weight to the code less
	// 2.
	Dynamic bool
	// Grace is the time between TERM and KILL; 0 means 2 s, as for keepalived.
	// Negative means KILL at once.
	Grace time.Duration
}

// Credential is a user by numbers; the names are in package os/user. The zero
// Credential is root.
type Credential struct {
	UID, GID uint32
	Groups   []uint32 // besides GID; nil is none
}

// defaultGrace is keepalived's time between TERM and KILL (check_misc.c).
const defaultGrace = 2 * time.Second

// outputWait is how long output is awaited after the end, when a program that left
// the group holds it open.
const outputWait = 500 * time.Millisecond

// ExitError says how a script ended.
type ExitError struct {
	// Code is the exit code, -1 after a signal.
	Code int
	// Status is it in words: "exit status 3", "signal: segmentation fault".
	Status string
	// Output is the end of what it wrote to stdout and stderr, at most 1024 bytes.
	Output string
}

func (e *ExitError) Error() string { return e.Status + said(e.Output) }

// said is the output of a script as a part of an error.
func said(output string) string {
	if output = strings.TrimSpace(output); output == "" {
		return ""
	}
	return fmt.Sprintf(": it says %q", output)
}

// Validate tells whether the script is there and may be executed, and whether the
// other fields make sense. The error matches fs.ErrInvalid, fs.ErrNotExist,
// exec.ErrNotFound, fs.ErrPermission or errors.ErrUnsupported.
func (s Script) Validate() error {
	err := s.check()
	if err == nil {
		err = s.executable()
	}
	return opError("run", s.Path, err)
}

func (s Script) check() error {
	if s.Path == "" {
		return invalid("Path is empty")
	}
	for _, text := range append(append([]string{s.Path, s.Dir, s.NetNS}, s.Args...), s.Env...) {
		if strings.ContainsRune(text, 0) {
			return invalid("%q has a zero byte", text)
		}
	}
	return s.supported()
}

// ending is how a script ended.
type ending struct {
	code   int // -1 after a signal
	status string
	killed bool // because ctx ended
}

// Probe runs the script once.
func (s Script) Probe(ctx context.Context) (report Report, err error) {
	if err := s.check(); err != nil {
		return Report{}, opError("run", s.Path, inconclusive(err))
	}
	if err := ctx.Err(); err != nil {
		return Report{}, opError("run", s.Path, fault(ended(ctx, err)))
	}
	var out tail
	end, err := s.run(ctx, &out)
	switch {
	case err != nil:
		err = scriptFault(err)
	case end.killed:
		err = fault(ended(ctx, ctx.Err()))
		err = fmt.Errorf("%w%s", err, said(out.String()))
	default:
		report, err = s.conclude(end, out.String())
	}
	return report, opError("run", s.Path, err)
}

// conclude says what the end of a script means.
func (s Script) conclude(end ending, output string) (Report, error) {
	switch {
	case end.code == 0:
		return Report{}, nil
	case s.Dynamic && end.code >= 2 && end.code <= 255:
		return Report{Weight: Weight{Op: SetWeight, N: end.code - 2}}, nil
	}
	return Report{}, &ExitError{Code: end.code, Status: end.status, Output: output}
}

// grace is the time between TERM and KILL.
func (s Script) grace() time.Duration {
	if s.Grace == 0 {
		return defaultGrace
	}
	return max(s.Grace, 0)
}

// outputMax is how much of a script's output is kept.
const outputMax = 1024

// tail keeps the end of what is written to it, however much that is.
type tail struct{ buf []byte }

func (t *tail) Write(b []byte) (int, error) {
	n := len(b)
	b = b[max(n-outputMax, 0):]
	if over := len(t.buf) + len(b) - outputMax; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, b...)
	return n, nil
}

// ReadFrom reads to the end: os/exec would else take 32 KiB for it.
func (t *tail) ReadFrom(r io.Reader) (total int64, err error) {
	buf := make([]byte, outputMax)
	for {
		n, err := r.Read(buf)
		total += int64(n)
		_, _ = t.Write(buf[:n]) // has no error
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

func (t *tail) String() string { return string(bytes.ToValidUTF8(t.buf, []byte("\uFFFD"))) }
