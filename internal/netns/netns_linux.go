package netns

import (
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
	done := make(chan error, 1)
	var panicked any
	go func() {
		runtime.LockOSThread()
		defer func() {
			if panicked = recover(); panicked != nil {
				done <- nil
			}
		}()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open the thread's network namespace: %w", err)
			return
		}
		defer home.Close()
		err = fn()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	err := <-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}

func enterError(path string, err error) error {
	if err == unix.EINVAL {
		err = fmt.Errorf("not a network namespace: %w", fs.ErrInvalid)
	}
	return fmt.Errorf("enter network namespace %s: %w", path, err)
}
