package userspace

import (
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
	tickEvery  = 250 * time.Millisecond // how often a worker with connections looks for what is idle
	yieldEvery = 5 * time.Millisecond   // how long other goroutines may have to wait for a busy worker
	yieldLong  = 50 * time.Microsecond  // what says that they have had work to do
	hastyFor   = 100 * time.Millisecond // and how long the worker is not patient then
	patient    = 1                      // milliseconds that a worker waits before it leaves Go's scheduler
)

// worker is one thread that forwards. Its goroutine alone touches it, but for
// what is under mu; while there is none, whoever has mu.
type worker struct {
	e        *Engine
	ws       *workers
	index    int
	epoll    int
	wake     int           // an eventfd
	now      time.Duration // at the beginning of the round
	handlers []handler     // by descriptor
	closing  []int         // descriptors that end with the round
	again    []againer     // what has more to do in the next round
	spare    []againer     // the same of the last round, empty
	events   [eventsMost]unix.EpollEvent

	idle      [queues]idleList
	conns     int           // entries in idle
	worked    bool          // in the last round
	yielded   time.Duration // when other goroutines had their turn
	hasty     time.Duration // until when it lets them have all the time in which it waits
	draining  bool          // ends when there is no connection
	succeeded bool          // the same: a successor takes what is new

	intakes []intake
	held    hold
	scarce  bool // nothing new is taken for want of room

	tcp tcpWorker
	udp *udpWorker // nil before the first service of UDP

	mu    sync.Mutex
	mail  []func()
	awake bool // the eventfd has been written, and not been read since
	live  bool // it has a goroutine
}

// handler is called when a descriptor is ready.
type handler interface {
	ready(events uint32)
}

// againer is called in the next round.
type againer interface {
	again()
}

// intake is a socket by which what is new comes to a worker.
type intake interface {
	// pause stops watching it, resume begins.
	pause()
	resume() error
	// shut closes it, and removes it from the worker.
	shut()
}

// hold are reasons for which nothing new is taken.
type hold uint8

const (
	holdDrain    hold = 1 << iota // Run is to end, or has not begun
	holdHandover                  // workers.pause
)

func newWorker(ws *workers, index int) (*worker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd2", err)
	}
	w := &worker{e: ws.e, ws: ws, index: index, epoll: epoll, wake: wake, held: holdDrain}
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
	if errno := rawEpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, events); errno != 0 {
		return os.NewSyscallError("epoll_ctl", errno)
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
	rawEpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, 0)
}

// drop closes a descriptor when the round is over: until then its number is not
// used again, and what this round has heard of it is dropped.
func (w *worker) drop(fd int) {
	if fd < len(w.handlers) {
		w.handlers[fd] = nil
	}
	w.closing = append(w.closing, fd)
}

// later calls a in the next round, which begins without waiting.
func (w *worker) later(a againer) { w.again = append(w.again, a) }

// post has f called by the worker's goroutine, in order, or at once if there is
// none. It is for all others, and f may not call it.
func (w *worker) post(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.live {
		f()
		w.reap()
		return
	}
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

// add makes an intake the worker's. If it cannot be watched, it is not.
func (w *worker) add(i intake) error {
	w.intakes = append(w.intakes, i)
	if w.held != 0 {
		return nil
	}
	return i.resume()
}

// remove ends an intake, which is not watched any more.
func (w *worker) remove(i intake) {
	for at, other := range w.intakes {
		if other == i {
			last := len(w.intakes) - 1
			w.intakes[at] = w.intakes[last]
			w.intakes[last] = nil
			w.intakes = w.intakes[:last]
			break
		}
	}
	if w.held == 0 {
		i.pause()
	}
}

// hold stops taking what is new, for a reason.
func (w *worker) hold(why hold) {
	if w.held == 0 {
		for _, i := range w.intakes {
			i.pause()
		}
	}
	w.held |= why
}

// release ends a reason.
func (w *worker) release(why hold) {
	was := w.held
	w.held &^= why
	if was == 0 || w.held != 0 {
		return
	}
	for _, i := range w.intakes {
		if err := i.resume(); err != nil {
			w.e.log.Error("a listening socket is not watched", "err", err)
		}
	}
}

// run is the life of a worker: until it has drained.
func (w *worker) run() error {
	defer w.end()
	if err := w.enter(); err != nil {
		return err
	}
	next := w.e.now()
	for {
		n, err := w.wait(next)
		if err != nil {
			return err
		}
		w.now = w.e.now()
		for i := range w.events[:n] {
			ev := &w.events[i]
			if h := w.handlers[ev.Fd]; h != nil {
				h.ready(ev.Events)
			}
		}
		w.repeat()
		if w.now >= next && n < len(w.events) {
			w.tick(w.now - next)
			next = w.now + tickEvery
		}
		w.sweep()
		if w.draining && w.conns == 0 {
			return nil
		}
	}
}

// tick looks for what is idle, when all that has happened is known. It may be
// late because the process was stopped, or starved: then what the others have
// done meanwhile may come in the next rounds.
func (w *worker) tick(late time.Duration) {
	if late < tickEvery {
		w.expire()
	}
	w.feed()
}

// wait is the number of events that there are, when there are any or it is time
// for the next tick.
//
// After work it waits for a moment as if it were working: a thread that leaves
// Go's scheduler for each event keeps the runtime's monitor awake, which looks
// every 20 us then, and has to find its place in the scheduler again: together a
// tenth of all processor time.
func (w *worker) wait(next time.Duration) (int, error) {
	patience := 0
	switch {
	case len(w.again) > 0:
	case w.worked && w.now >= w.hasty:
		patience = patient
	default:
		return w.sleep(next)
	}
	if w.now-w.yielded > yieldEvery {
		w.yield()
	}
	n, errno := rawEpollWait(w.epoll, w.events[:], patience)
	if errno != 0 && errno != unix.EINTR {
		return 0, os.NewSyscallError("epoll_wait", errno)
	}
	w.worked = n > 0
	return max(n, 0), nil
}

// yield lets other goroutines have their turn. If they take it, the worker is not
// patient for some time.
func (w *worker) yield() {
	begin := w.e.now()
	runtime.Gosched()
	w.yielded = w.e.now()
	if w.yielded-begin > yieldLong {
		w.hasty = w.yielded + hastyFor
	}
}

// sleep waits for events.
func (w *worker) sleep(next time.Duration) (int, error) {
	timeout := -1
	if w.conns > 0 || w.scarce || len(w.tcp.waiting) > 0 || w.ws.limits.full.Load() {
		timeout = int(max(next-w.now, 0)/time.Millisecond) + 1
	}
	n, err := unix.EpollWait(w.epoll, w.events[:], timeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, os.NewSyscallError("epoll_wait", err)
	}
	w.worked = n > 0
	return max(n, 0), nil
}

// repeat does what the last round has left.
func (w *worker) repeat() {
	now := w.again
	w.again = w.spare[:0]
	for _, a := range now {
		a.again()
	}
	clear(now)
	w.spare = now[:0]
}

// sweep ends a round.
func (w *worker) sweep() {
	if w.reap() {
		w.ws.freed()
	}
}

// reap closes what has ended in a round. It is false if there was nothing.
func (w *worker) reap() bool {
	for _, fd := range w.closing {
		rawClose(fd)
	}
	closed := len(w.closing) > 0
	w.closing = w.closing[:0]
	w.tcp.sweep()
	return closed
}

// arm makes the worker live: run is to be called in a goroutine.
func (w *worker) arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live, w.draining = true, false
	w.now = w.e.now()
	w.release(holdDrain)
}

// end leaves no connection behind.
func (w *worker) end() {
	w.hold(holdDrain)
	w.cutAll()
	w.repeat() // they know that they are not in the list any more
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.mail {
		f()
	}
	w.mail = nil
	w.again = w.again[:0]
	w.reap()
	w.scarce = false
	w.tcp.release(&w.ws.limits)
	w.live = false
}

// enter moves the thread into the network namespace of the Engine. Such a
// thread is never given back: it ends with the goroutine, which stays locked.
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
	runtime.LockOSThread()
	return netns.Enter(ns)
}
