package ipvs

import (
	"errors"
	"fmt"
	"io/fs"
)

// OpError is the error of every operation of this package: what was done, to
// what, and why it could not be done. Its text says what to do about it where
// there is something to do.
//
// Err matches, by errors.Is:
//   - fs.ErrNotExist: the service or destination is not in the table
//   - fs.ErrExist: it is in the table already
//   - fs.ErrInvalid: the kernel, or this package before it, takes no such
//     service or destination
//   - fs.ErrPermission: CAP_NET_ADMIN is missing
//   - net.ErrClosed: the table was closed
//   - errors.ErrUnsupported: this system has no IPVS, or its kernel lacks a part of it
//   - ErrNoModule, ErrNoScheduler, ErrNoEngine: a kernel module is missing
//   - the error of a context that ended
type OpError struct {
	Op     string // the operation: "add destination"
	Object string // what it was done to: "TCP 192.0.2.1:80 -> 10.0.0.1:80"; may be empty
	Err    error
}

// Error is the operation, the object and the reason in one line.
func (e *OpError) Error() string {
	if e.Object == "" {
		return "ipvs: " + e.Op + ": " + e.Err.Error()
	}
	return "ipvs: " + e.Op + " " + e.Object + ": " + e.Err.Error()
}

// Unwrap is the reason.
func (e *OpError) Unwrap() error { return e.Err }

// Missing parts of the kernel. All of them match errors.ErrUnsupported as well.
var (
	// ErrNoModule says that the kernel has no IPVS.
	ErrNoModule error = unsupported("the kernel has no ip_vs: modprobe ip_vs")
	// ErrNoScheduler says that the kernel has no such scheduler.
	ErrNoScheduler error = unsupported("the kernel has no such scheduler")
	// ErrNoEngine says that the kernel has no such persistence engine.
	ErrNoEngine error = unsupported("the kernel has no such persistence engine")
)

// unsupported is an error that matches errors.ErrUnsupported.
type unsupported string

func (e unsupported) Error() string        { return string(e) }
func (e unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

// invalid is a refusal of a configuration, with its text. It matches
// fs.ErrInvalid.
type invalid string

func (e invalid) Error() string { return string(e) }

func invalidf(format string, args ...any) error { return invalid(fmt.Sprintf(format, args...)) }

func (e invalid) Is(target error) bool { return target == fs.ErrInvalid }
