package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// do calls fn in the namespace, on a thread of its own.
func (s *space) do(fn func() error) error { return netns.DoFile(s.file, fn) }

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
