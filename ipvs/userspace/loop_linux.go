package userspace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
)

const (
	eventsMost = 256                    // events of one epoll_wait
	tickEvery  = 500 * time.Millisecond // how often a worker looks for what is idle
)

// worker is one thread that forwards. Its goroutine alone touches it, but for
// what is under mu.
type worker struct {
	e        *Engine
	index    int
	epoll    int
	wake     int           // an eventfd
	now      time.Duration // at the beginning of the round
	handlers []handler     // by descriptor
	closing  []int         // descriptors that end with the round
	events   [eventsMost]unix.EpollEvent

	mu    sync.Mutex
	mail  []func()
	awake bool // the eventfd has been written, and not been read since
}

// handler is called when a descriptor is ready.
type handler interface {
	ready(events uint32)
}

func newWorker(e *Engine, index int) (*worker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd2", err)
	}
	w := &worker{e: e, index: index, epoll: epoll, wake: wake}
	if err := w.watch(wake, unix.EPOLLIN, w); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *worker) close() {
	unix.Close(w.epoll)
	unix.Close(w.wake)
}

// watch calls h when a descriptor is ready. With EPOLLET it does so once until
// the descriptor has said EAGAIN.
func (w *worker) watch(fd int, events uint32, h handler) error {
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	if fd >= len(w.handlers) {
		w.handlers = append(w.handlers, make([]handler, fd+1-len(w.handlers))...)
	}
	w.handlers[fd] = h
	return nil
}

// forget stops watching a descriptor that stays open.
func (w *worker) forget(fd int) {
	w.handlers[fd] = nil
	unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// drop closes a descriptor when the round is over: until then its number is not
// used again, and what this round has heard of it is dropped.
func (w *worker) drop(fd int) {
	if fd < len(w.handlers) {
		w.handlers[fd] = nil
	}
	w.closing = append(w.closing, fd)
}

// post has f called by the worker's goroutine, in order. It is for all others.
func (w *worker) post(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mail = append(w.mail, f)
	if w.awake {
		return
	}
	w.awake = true
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	unix.Write(w.wake, one[:])
}

// ready reads the mail.
func (w *worker) ready(uint32) {
	var n [8]byte
	unix.Read(w.wake, n[:])
	w.mu.Lock()
	mail := w.mail
	w.mail, w.awake = nil, false
	w.mu.Unlock()
	for _, f := range mail {
		f()
	}
}

// run is the life of a worker: until stopped is true.
func (w *worker) run(stopped func() bool, tick func(*worker)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := w.enter(); err != nil {
		return err
	}
	next := w.e.now() + tickEvery
	for {
		n, err := unix.EpollWait(w.epoll, w.events[:], int(max(next-w.e.now(), 0)/time.Millisecond)+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("epoll_wait", err)
		}
		w.now = w.e.now()
		for _, ev := range w.events[:max(n, 0)] {
			if h := w.handlers[ev.Fd]; h != nil {
				h.ready(ev.Events)
			}
		}
		if w.now >= next {
			tick(w)
			next = w.now + tickEvery
		}
		for _, fd := range w.closing {
			unix.Close(fd)
		}
		w.closing = w.closing[:0]
		if stopped() {
			return nil
		}
	}
}

// enter moves the thread into the network namespace of the Engine. Such a
// thread is never given back.
func (w *worker) enter() error {
	path := w.e.cfg.NetNS
	if path == "" {
		return nil
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	runtime.LockOSThread() // once more than it is unlocked: the thread ends with the goroutine
	return netns.Enter(ns)
}

// workers is the plane of Linux.
type workers struct {
	e    *Engine
	all  []*worker
	stop bool // of the workers' goroutines: set by mail
}

func newPlane(e *Engine) (plane, error) {
	n := e.cfg.Workers
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	ws := &workers{e: e}
	for i := range n {
		w, err := newWorker(e, i)
		if err != nil {
			ws.close()
			return nil, err
		}
		ws.all = append(ws.all, w)
	}
	return ws, nil
}

func (ws *workers) close() error {
	for _, w := range ws.all {
		w.close()
	}
	return nil
}

func (ws *workers) run(ctx context.Context) error {
	errs := make(chan error, len(ws.all))
	for _, w := range ws.all {
		go func() {
			stop := false
			context.AfterFunc(ctx, func() { w.post(func() { stop = true }) })
			errs <- w.run(func() bool { return stop }, func(*worker) {})
		}()
	}
	var all []error
	for range ws.all {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
