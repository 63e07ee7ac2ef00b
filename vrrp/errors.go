package vrrp

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrRunning says that a Router runs already.
var ErrRunning = errors.New("the router runs already")

// OpError says which operation of this package failed on what, and why. The
// cause matches fs.ErrInvalid (a wrong Config or argument), fs.ErrNotExist (no
// such interface), fs.ErrExist (a name that is taken), fs.ErrPermission,
// net.ErrClosed (the Router does not run any more), ErrRunning,
// errors.ErrUnsupported (another system than Linux).
type OpError struct {
	Op     string // "new", "run", "track", "update", ...
	Object string // the router's name; may be empty
	Err    error
}

func (e *OpError) Error() string {
	if e.Object == "" {
		return "vrrp: " + e.Op + ": " + e.Err.Error()
	}
	return "vrrp: " + e.Op + " " + e.Object + ": " + e.Err.Error()
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
