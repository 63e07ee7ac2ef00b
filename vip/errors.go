package vip

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrForeign says that something wanted is there already and is not ours: an
// address (with any prefix length), a device of that name, a port. It is left
// alone. It matches fs.ErrExist too.
var ErrForeign = fmt.Errorf("there already and not ours: %w", fs.ErrExist)

// ErrInUse says that a living Manager has this mark in this network namespace.
var ErrInUse = errors.New("mark in use")

// ErrConflict says that another host has an address; the text names its MAC.
var ErrConflict = errors.New("address conflict")

// OpError says which operation of this package failed on what, and why. The
// cause matches fs.ErrNotExist (no such interface), ErrForeign, ErrInUse,
// ErrConflict, fs.ErrPermission, net.ErrClosed, errors.ErrUnsupported (a missing module or
// system), fs.ErrInvalid (a wrong Config, State or argument).
type OpError struct {
	Op     string // "add address", "open", ...
	Object string // "192.168.247.188/32 dev lo"; may be empty
	Err    error
}

func (e *OpError) Error() string {
	if e.Object == "" {
		return "vip: " + e.Op + ": " + e.Err.Error()
	}
	return "vip: " + e.Op + " " + e.Object + ": " + e.Err.Error()
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
