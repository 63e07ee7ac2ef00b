package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// recordFile is the file of Config.Record; without a path it keeps nothing.
type recordFile struct {
	path   string
	record record
}

func (c *Client) openRecord(p proc) (*recordFile, error) {
	f := &recordFile{path: c.config.Record}
	if f.path == "" {
		return f, nil
	}
	data, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, f.fail("read record", err)
	}
	boot, err := os.ReadFile(filepath.Join(p.root, "kernel/random/boot_id"))
	if err != nil {
		return f, f.fail("read record", err)
	}
	ns, err := namespaceID()
	if err != nil {
		return f, f.fail("read record", err)
	}
	if f.record, err = parseRecord(data, strings.TrimSpace(string(boot)), ns); err != nil {
		return f, f.fail("read record", err)
	}
	return f, nil
}

// save replaces the file in one step; an empty record is no file. It need not
// reach the disk: the changes do not outlast the machine either.
func (f *recordFile) save(r record) error {
	if f.path == "" {
		return nil
	}
	// The name is always the same: a killed program leaves one file at most.
	temp := f.path + ".new"
	if len(r.Changes) == 0 {
		for _, path := range []string{temp, f.path} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return f.fail("write record", err)
			}
		}
		return nil
	}
	data, err := r.format()
	if err != nil {
		return f.fail("write record", err)
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return f.fail("write record", err)
	}
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return f.fail("write record", err)
	}
	if err := os.Rename(temp, f.path); err != nil {
		return f.fail("write record", err)
	}
	return nil
}

func (f *recordFile) fail(op string, err error) error {
	return &OpError{Op: op, Object: f.path, Err: err}
}

// namespaceID tells the thread's network namespace from all others since the
// boot. Kernels before 5.14 have no cookie; the inode, which may be used again,
// must do there.
func namespaceID() (string, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(s)
	if cookie, err := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil {
		return fmt.Sprintf("cookie %d", cookie), nil
	}
	link, err := os.Readlink("/proc/thread-self/ns/net")
	return link, err
}
