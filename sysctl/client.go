package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
)

var (
	// ErrKey is a key with a component that cannot be one. It matches
	// fs.ErrInvalid.
	ErrKey error = &fact{"invalid key", fs.ErrInvalid}
	// ErrRange is a wanted value that the kernel does not know. It matches
	// fs.ErrInvalid.
	ErrRange error = &fact{"value out of range", fs.ErrInvalid}
	// ErrConflict is a setting that is wanted in two ways that exclude each
	// other, or that the kernel overrides by another one.
	ErrConflict = errors.New("conflicting settings")
	// ErrReadOnly is a /proc/sys that is mounted read-only, as containers have
	// it. It matches fs.ErrPermission.
	ErrReadOnly error = &fact{"/proc/sys is mounted read-only", fs.ErrPermission}
	// ErrNotKept is a value that was written, and is another one when it is
	// read back: the kernel changed it, or another program did.
	ErrNotKept = errors.New("the value did not stay")
)

// fact is an error of this package that is also one of the standard library's.
type fact struct {
	text string
	kind error
}

func (f *fact) Error() string { return f.text }
func (f *fact) Unwrap() error { return f.kind }

// OpError is the error of an operation.
type OpError struct {
	Op     string // "apply", "restore", "read", "write", ...
	Object string // the key or file, if it is about one
	Err    error  // wraps one of this package's errors or of io/fs, or errors.ErrUnsupported
}

// Error is one line: the package, the operation, its object, what is wrong.
func (e *OpError) Error() string {
	if e.Object == "" {
		return fmt.Sprintf("sysctl: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("sysctl: %s %s: %v", e.Op, e.Object, e.Err)
}

// Unwrap is Err.
func (e *OpError) Unwrap() error { return e.Err }

// opError gives an error its operation, unless it has one.
func opError(op string, err error) error {
	var own *OpError
	if err == nil || errors.As(err, &own) {
		return err
	}
	return &OpError{Op: op, Err: err}
}

// Config says which kernel settings a Client works on. The zero Config is
// those of the caller's network namespace.
type Config struct {
	// NetNS is the path of a network namespace, such as /run/netns/blue. Empty:
	// the one of the calling thread.
	NetNS string

	// Root is where /proc/sys is; empty: /proc/sys. A container that has the
	// host's at /host/proc/sys, read-write, names it here. The network
	// namespace is that of the thread all the same.
	Root string

	// Record is the absolute path of a file of this program's own, best below
	// /run, that keeps what Apply changed and Restore has not put back yet, so
	// that it can be put back after the program was killed. Changes are noted
	// before they are made. A file of an earlier boot or of another namespace
	// counts as none. Its folder is made if need be. Two programs must not share it.
	// Empty: none is kept.
	Record string

	// Logger gets each change at Info; nil discards.
	Logger *slog.Logger
}

// Client reads and writes kernel settings. It holds nothing open; its methods
// may be called from several goroutines.
type Client struct {
	config Config
	mu     sync.Mutex // one Apply or Restore at a time; guards the file of Config.Record
}

// New checks the configuration and makes a Client. Nothing is touched yet.
func New(c Config) (*Client, error) {
	if c.Root == "" {
		c.Root = "/proc/sys"
	}
	for _, path := range []string{c.Root, c.Record} {
		if path != "" && !filepath.IsAbs(path) && path[0] != '/' {
			return nil, &OpError{Op: "configure", Object: path, Err: fmt.Errorf("%w: not an absolute path", fs.ErrInvalid)}
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{config: c}, nil
}
