package ipvs

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
)

// namespace holds the network namespace that a client was opened in, so that
// it can dial again and open files there from any thread.
type namespace struct{ file *os.File }

const threadNamespace = "/proc/thread-self/ns/net"

// openNamespace takes the namespace at path, or that of the calling thread.
func openNamespace(path string) (ns namespace, err error) {
	err = netns.Do(path, func() error {
		ns.file, err = os.Open(threadNamespace)
		return err
	})
	return ns, err
}

// do calls fn with its thread in the namespace. Where the thread is there
// already it does without the right to enter one (CAP_SYS_ADMIN).
func (ns namespace) do(fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if ns.isThread() {
		return fn()
	}
	return netns.DoFile(ns.file, fn)
}

func (ns namespace) isThread() bool {
	var here, there unix.Stat_t
	return unix.Stat(threadNamespace, &here) == nil && unix.Fstat(int(ns.file.Fd()), &there) == nil &&
		here.Dev == there.Dev && here.Ino == there.Ino
}

func (ns namespace) close() error { return ns.file.Close() }
