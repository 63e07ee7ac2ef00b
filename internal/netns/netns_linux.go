package netns

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Do calls fn on a thread in the network namespace at path, such as
// /run/netns/blue or /proc/1234/ns/net, and returns what fn returns. The empty
// path is the namespace of the calling thread: fn is called as it is.
//
// A panic of fn and its runtime.Goexit (as of testing.T.FailNow) are carried
// over to the caller. A path that is absent matches fs.ErrNotExist, one that is
// no network namespace fs.ErrInvalid, one that may not be entered (it takes
// CAP_SYS_ADMIN) fs.ErrPermission.
func Do(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	return DoFile(ns, fn)
}

// DoFile is Do with an open namespace, see Enter for its errors.
func DoFile(ns *os.File, fn func() error) error {
	return onThread(func() error {
		if err := Enter(ns); err != nil {
			return err
		}
		return fn()
	})
}

// New makes a network namespace that nothing but the returned file holds: it
// goes when the file is closed, and with the process at the latest.
// It takes CAP_SYS_ADMIN.
func New() (*os.File, error) {
	var ns *os.File
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// Enter moves the calling thread, which must be locked, into a namespace. A
// closed file matches net.ErrClosed.
func Enter(ns *os.File) error {
	var errno error
	conn, err := ns.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { errno = unix.Setns(int(fd), unix.CLONE_NEWNET) })
	}
	switch {
	case err != nil: // Control has no other error
		errno = net.ErrClosed
	case errno == unix.EINVAL:
		errno = fmt.Errorf("not a network namespace: %w", fs.ErrInvalid)
	}
	if errno != nil {
		return fmt.Errorf("enter network namespace %s: %w", ns.Name(), errno)
	}
	return nil
}

// onThread calls fn on a thread of its own and waits for it.
func onThread(fn func() error) (err error) {
	var panicked error
	exited := true
	done := make(chan struct{})
	Go(func() {
		defer close(done)
		defer func() { panicked = panicError(recover()) }()
		err = fn()
		exited = false
	})
	<-done
	switch {
	case panicked != nil:
		panic(panicked)
	case exited:
		runtime.Goexit()
	}
	return err
}

// panicError keeps the stack, which a second panic would lose.
func panicError(value any) error {
	switch v := value.(type) {
	case nil:
		return nil
	case error:
		return fmt.Errorf("%w\n\n%s", v, debug.Stack())
	default:
		return fmt.Errorf("%v\n\n%s", v, debug.Stack())
	}
}

// Go starts fn on an operating system thread that ends with it, so that fn may
// move it. It is never the first thread of the process, because that one's
// namespace is what /proc/self and other programs take for the namespace of
// the process.
func Go(fn func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			fn() // stays locked: the thread ends here
			return
		}
		begun := make(chan struct{})
		Go(func() {
			close(begun)
			fn()
		})
		<-begun
		runtime.UnlockOSThread()
	}()
}
