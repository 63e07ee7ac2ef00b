package health

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrInconclusive says that a probe has found out nothing about what it probes: the
// fault is this machine's own (no descriptors, no free port, no processor time, a
// script that cannot be started), or the probe was cancelled. Such a result changes
// no state and counts for no threshold.
var ErrInconclusive = errors.New("inconclusive")

// ErrRunning says that a Monitor runs already.
var ErrRunning = errors.New("the monitor runs already")

// OpError says which operation of this package failed on what, and why. The
// cause matches fs.ErrInvalid (a wrong Config, Check or prober), fs.ErrPermission,
// context.DeadlineExceeded (no answer in time), ErrInconclusive, ErrRunning,
// errors.ErrUnsupported, or what the network answered (syscall.ECONNREFUSED, ...).
type OpError struct {
	Op     string // "connect", "read", "set", "run", ...
	Object string // an address, a path, a check's ID; may be empty
	Err    error
}

func (e *OpError) Error() string {
	if e.Object == "" {
		return "health: " + e.Op + ": " + e.Err.Error()
	}
	return "health: " + e.Op + " " + e.Object + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// opError wraps err once: an OpError stays as it is, nil stays nil.
func opError(op, object string, err error) error {
	var done *OpError
	if err == nil || errors.As(err, &done) {
		return err
	}
	return &OpError{Op: op, Object: object, Err: err}
}

// invalid is an error of the caller.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", fs.ErrInvalid, fmt.Errorf(format, args...))
}

// inconclusive marks a fault of this machine.
func inconclusive(err error) error { return fmt.Errorf("%w: %w", ErrInconclusive, err) }
