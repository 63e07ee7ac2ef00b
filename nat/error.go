package nat

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
//   - fs.ErrInvalid: a rule or a Config that can not be
//   - fs.ErrExist, fs.ErrNotExist: a rule that Add or Remove can not have
//   - fs.ErrPermission: CAP_NET_ADMIN is missing
//   - fs.ErrNotExist: a program that the backend needs is missing
//   - ErrMixed: rules of ours in two backends
//   - ErrContested: two programs with rules of one name
//   - net.ErrClosed: the Table is closed
//   - errors.ErrUnsupported: the backend, or this system, can not do it
//   - the error of a context that ended
type OpError struct {
	Op     string // the operation: "apply"
	Object string // what it was done to, such as a rule; may be empty
	Err    error
}

// Error is the operation, the object and the reason in one line.
func (e *OpError) Error() string {
	if e.Object == "" {
		return "nat: " + e.Op + ": " + e.Err.Error()
	}
	return "nat: " + e.Op + " " + e.Object + ": " + e.Err.Error()
}

// Unwrap is the reason.
func (e *OpError) Unwrap() error { return e.Err }

// ErrMixed is that rules of this name are in another backend than the one that is
// to be used, where they would go on rewriting: Clear a Table of that backend first. Where
// they are in both, a Table of either can be opened, read and cleared, and changes
// nothing else.
var ErrMixed = errors.New("rules of this name are in another backend")

// ErrContested is that the rules are changed as often as Run puts them back: another
// program has rules of the same name. Give it another Config.Name.
var ErrContested = errors.New("the rules are changed again and again: does another program use the same Config.Name?")

// invalid is a refusal of a rule, with its text. It matches fs.ErrInvalid.
type invalid string

func (e invalid) Error() string { return string(e) }

func invalidf(format string, args ...any) error { return invalid(fmt.Sprintf(format, args...)) }

func (e invalid) Is(target error) bool { return target == fs.ErrInvalid }

// exists is a refusal of what is there already. It matches fs.ErrExist.
type exists string

func (e exists) Error() string { return string(e) }

func existsf(format string, args ...any) error { return exists(fmt.Sprintf(format, args...)) }

func (e exists) Is(target error) bool { return target == fs.ErrExist }
