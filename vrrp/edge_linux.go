package vrrp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
)

// kernel is the edge. What the loop uses belongs to its goroutine; the watcher,
// on a goroutine of its own, opens and closes the sockets, since that may have to
// wait for the kernel's configuration lock.
type kernel struct {
	ns    *os.File // to enter; nil if the threads of the process are in it
	event int      // eventfd

	// of the loop
	sockets map[port]*socket
	polls   []unix.PollFd
	polled  []*socket // of polls[1:]
	batch   *batch
	timeout unix.Timespec
	tuned   bool
	rest    time.Duration // how long packets are let wait if there are many
	woken   int64         // wall clock, in ns, of the end of the last wait
	taken   int           // packets since
	watched time.Duration // this time
	rested  int           // of taken, those before the last wait
	resting bool
	out     sender

	// of the watcher
	wanted chan struct{}
	mu     sync.Mutex // guards wants and gone
	wants  []want
	open   map[port]*socket
	routes *routes
	notes  *notices
	gone   map[int]bool // guarded by mu: indices of interfaces that were removed
}

// openEdge enters the network namespace and checks that the process may do what
// a Router does.
func openEdge(path string) (_ system, err error) {
	k := &kernel{
		event: -1, sockets: map[port]*socket{}, open: map[port]*socket{}, gone: map[int]bool{}, batch: newBatch(), wanted: make(chan struct{}, 1),
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if k.ns, err = namespace(path); err != nil {
		return nil, err
	}
	if k.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("open eventfd: %w", err)
	}
	k.poll()
	return k, k.do(func() error {
		if err := mayRaw(); err != nil {
			return err
		}
		if k.notes, err = listen(); err != nil {
			return err
		}
		k.routes, err = openRoutes()
		return err
	})
}

// namespace is the namespace to enter, or nil if all threads of the process are
// in it. Without a path it is the calling thread's, which may have been moved.
func namespace(path string) (*os.File, error) {
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open network namespace: %w", err)
		}
		return f, nil
	}
	mine, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, nil // without /proc the caller is where the process is
	}
	a, err := mine.Stat()
	b, err2 := os.Stat("/proc/self/ns/net")
	if err != nil || err2 != nil || os.SameFile(a, b) {
		mine.Close()
		return nil, nil
	}
	return mine, nil
}

// do calls fn in the namespace.
func (k *kernel) do(fn func() error) error {
	if k.ns == nil {
		return fn()
	}
	return netns.DoFile(k.ns, fn)
}

// mayRaw tries whether raw sockets can be had.
func mayRaw() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocolVRRP)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("raw sockets take CAP_NET_RAW in this network namespace: %w (%w)", fs.ErrPermission, err)
	}
	if err != nil {
		return fmt.Errorf("open raw socket: %w", err)
	}
	return unix.Close(fd)
}

func (k *kernel) close() error {
	for _, s := range k.open {
		s.close()
	}
	if k.notes != nil {
		k.notes.close()
	}
	if k.routes != nil {
		k.routes.close()
	}
	if k.event >= 0 {
		unix.Close(k.event)
	}
	if k.ns != nil {
		k.ns.Close()
	}
	return nil
}

// now is CLOCK_BOOTTIME: after a suspend an Active router notices that it has
// been silent.
func (k *kernel) now() time.Duration {
	var ts unix.Timespec
	unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0) // there since Linux 2.6.39
	return time.Duration(ts.Nano())
}

func (k *kernel) wall() time.Time { return time.Now() }

var one = binary.NativeEndian.AppendUint64(nil, 1)

func (k *kernel) wake() { _, _ = unix.Write(k.event, one) }

// poll makes the list for ppoll(2).
func (k *kernel) poll() {
	k.polls = append(k.polls[:0], unix.PollFd{Fd: int32(k.event), Events: unix.POLLIN})
	k.polled = k.polled[:0]
	for _, s := range k.sockets {
		k.polls = append(k.polls, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
		k.polled = append(k.polled, s)
	}
	k.batch.reset()
}

// While many packets come, they are not taken one by one: waking up costs more
// than all that is done about a packet. The kernel's time stamps tell when they
// came, so that no timer is set later for it.
const (
	restFrom  = 64 // packets within restWatch
	restWatch = 128 * time.Millisecond
	restMost  = 16 * time.Millisecond
	restPart  = 8 // of the shortest interval
)

// crowded tells whether there are many packets, 500 a second, and some came in the
// last round: after one without any, the next burst is waited for.
func (k *kernel) crowded(now time.Duration) bool {
	if now-k.watched >= restWatch {
		k.resting = k.taken >= restFrom && now-k.watched < 2*restWatch
		k.taken, k.rested, k.watched = 0, -1, now
	}
	lately := k.taken != k.rested
	k.rested = k.taken
	return k.resting && lately
}

// wait is ppoll(2): its timeouts have nanoseconds, where the timers of Go come up
// to 1 ms late.
func (k *kernel) wait(until time.Duration) {
	if !k.tuned {
		k.tuned = true // for the thread; without it the kernel may add 50 µs
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	}
	now := k.now()
	if k.crowded(now) {
		k.sleep(k.polls[:1], now, min(until, now+k.rest))
		k.batch.ready = append(k.batch.ready[:0], k.polled...)
	} else {
		k.sleep(k.polls, now, until)
	}
	if k.polls[0].Revents != 0 {
		var b [8]byte
		_, _ = unix.Read(k.event, b[:])
	}
	k.woken = time.Now().UnixNano()
}

// sleep polls until a time.
func (k *kernel) sleep(polls []unix.PollFd, now, until time.Duration) {
	k.polls[0].Revents = 0
	timeout := &k.timeout
	if until == never {
		timeout = nil
	} else {
		*timeout = unix.NsecToTimespec(int64(max(0, until-now)))
	}
	n, err := unix.Ppoll(polls, timeout, nil)
	if err != nil || n <= 0 {
		return
	}
	for i := range polls[1:] {
		if polls[i+1].Revents != 0 {
			k.batch.ready = append(k.batch.ready, k.polled[i])
		}
	}
}
