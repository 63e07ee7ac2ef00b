package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do calls fn with its thread in the network namespace at path, such as
// /run/netns/blue or /proc/1234/ns/net, and returns what fn returns.
// The empty path is the namespace of the calling thread: fn is called as it is.
//
// A path that is absent matches fs.ErrNotExist; one that may not be entered
// (it takes CAP_SYS_ADMIN) matches fs.ErrPermission.
func Do(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	return doThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return enterError(path, err)
		}
		return fn()
	})
}

// New makes a network namespace that nothing but the returned file holds: it
// goes when the file is closed, and with the process at the latest.
// It takes CAP_SYS_ADMIN.
func New() (*os.File, error) {
	var ns *os.File
	err := doThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// doThread calls fn on a thread of its own and puts the thread back into the
// namespace it came from. A thread that cannot go back ends with its goroutine.
func doThread(fn func() error) error {
	type outcome struct {
		err      error
		panicked any
	}
	done := make(chan outcome, 1)
	go func() {
		out := outcome{err: errors.New("the function ended its goroutine")}
		defer func() {
			out.panicked = recover()
			done <- out
		}()
		out.err = visit(fn)
	}()
	out := <-done
	if out.panicked != nil {
		panic(out.panicked)
	}
	return out.err
}

// visit calls fn, which may move the thread, and moves it back.
func visit(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the thread's network namespace: %w", err)
	}
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
	}()
	return fn()
}

func enterError(path string, err error) error {
	if err == unix.EINVAL {
		err = fmt.Errorf("not a network namespace: %w", fs.ErrInvalid)
	}
	return fmt.Errorf("enter network namespace %s: %w", path, err)
}
