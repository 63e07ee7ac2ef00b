package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/lvskit/lvskit/internal/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// space is a network namespace, held by its descriptor alone, with a netlink
// socket in it. The owner must not use nl after close: a closed handle falls
// back to the namespace of its caller.
type space struct {
	file *os.File
	nl   *netlink.Handle
	id   string // as /proc/<pid>/ns/net reads, "net:[4026532291]"
	path string // /proc/<pid>/fd/<n>
}

// setting is a kernel setting below /proc/sys/net, and the value it must have.
type setting struct{ key, value string }

// newSpace makes a namespace with these settings and lo up.
func newSpace(settings []setting) (s *space, err error) {
	s = &space{}
	if s.file, err = netns.New(); err != nil {
		return nil, err
	}
	s.path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.file.Fd())
	err = s.do(func() (err error) {
		if s.id, err = os.Readlink("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if err := applySettings(settings); err != nil {
			return err
		}
		if s.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("open netlink: %w", err)
		}
		return upLoopback(s.nl)
	})
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *space) close() {
	if s.nl != nil {
		s.nl.Close()
	}
	s.file.Close()
}

// enter moves the calling thread, which must be locked, into the namespace.
func (s *space) enter() error {
	var errno error
	conn, err := s.file.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { errno = unix.Setns(int(fd), unix.CLONE_NEWNET) })
	}
	if err != nil {
		errno = net.ErrClosed // Control has no other error
	}
	if errno != nil {
		return fmt.Errorf("enter a network namespace of the lab: %w", errno)
	}
	return nil
}

// do calls fn in the namespace, on a thread of its own. A panic of fn, or its
// runtime.Goexit (as t.FailNow does), is carried over to the caller.
func (s *space) do(fn func() error) (err error) {
	var panicked error
	exited := false
	done := make(chan struct{})
	onThread(func() {
		defer close(done)
		if err = s.enter(); err != nil {
			return
		}
		defer func() { panicked = panicError(recover()) }()
		exited = true
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

// onThread starts fn on an operating system thread that ends with it. It is
// never the first thread of the process, because that one's namespace is what
// /proc/self and other programs take for the namespace of the process.
func onThread(fn func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			fn() // stays locked: the thread ends here
			return
		}
		begun := make(chan struct{})
		onThread(func() {
			close(begun)
			fn()
		})
		<-begun
		runtime.UnlockOSThread()
	}()
}

// applySettings writes what is not so yet, in the calling thread's namespace.
// What the kernel does not have (IPv6, a module) is passed over.
func applySettings(settings []setting) error {
	for _, s := range settings {
		path := filepath.Join("/proc/sys/net", s.key)
		have, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(have)) == s.value {
			continue
		}
		if err == nil {
			err = os.WriteFile(path, []byte(s.value), 0)
		}
		if errors.Is(err, unix.EROFS) {
			return fmt.Errorf("%w (%w): remount /proc/sys writable, or run the container with --privileged", fs.ErrPermission, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func upLoopback(nl *netlink.Handle) error {
	lo, err := nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := nl.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}
