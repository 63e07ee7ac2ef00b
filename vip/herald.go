package vip

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// rounds are the times of a schedule, from its beginning. A neighbour takes
// nothing new for an entry that is younger than a second, so the second round
// comes after that; the others are for frames that get lost.
var rounds = [...]time.Duration{0, 1100 * time.Millisecond, 2200 * time.Millisecond, 5 * time.Second}

// The pace of announcements, over everything that a Manager holds. A receiver's
// queue has room for a thousand frames (net.core.netdev_max_backlog).
const (
	framesPerMilli = 32
	frameSpacing   = time.Millisecond / framesPerMilli
	burst          = 2 * time.Millisecond
)

// An interface that is not ready is looked at again after retryFirst, then after
// twice as long, up to retryMost.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = time.Second
)

// herald knows what is to be announced, and when. It is pure but for its lock:
// times are arguments, and who sends is in announce_linux.go.
type herald struct {
	refresh time.Duration
	more    chan struct{} // something is due earlier than was thought

	begun chan struct{} // closed by the first Announce

	mu     sync.Mutex // guards below, and the sending of a frame
	closed bool       // nothing may be sent
	free   time.Time  // when the next frame fits the pace
	sets   map[*Set]*heralded
	links  map[int]linkSeen
	out    sender
	sent   uint64
	failed uint64
}

// heralded is what one set holds.
type heralded struct {
	announced bool // Announce has been called since it is held
	entries   map[addressKey]*entry
}

// entry is the schedule of one address.
type entry struct {
	addr  Address
	run   int // of the schedule: it is another one after each beginning
	round int // the next
	start time.Time
	due   time.Time     // zero: nothing is
	retry time.Duration // zero: the interface was ready
	// defend is when the address is announced once beside the schedule, zero for
	// never.
	defend time.Time
}

// linkSeen is what makes neighbours look elsewhere when it changes.
type linkSeen struct {
	mac     string
	carrier bool
}

// task is one sending that is due.
type task struct {
	set  *Set
	addr Address
	run  int
	once bool // beside the schedule
}

func newHerald(refresh time.Duration) *herald {
	return &herald{refresh: refresh, more: make(chan struct{}, 1), begun: make(chan struct{}), closed: true, sets: map[*Set]*heralded{}, links: map[int]linkSeen{}}
}

func (h *herald) open() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = false
}

// close ends all schedules and gives up the socket.
func (h *herald) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	clear(h.sets)
	return h.out.close()
}

func (h *herald) counts() (sent, failed uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent, h.failed
}

// hold says what a set holds from now on; what it held before keeps its
// schedule.
func (h *herald) hold(s *Set, addrs []Address) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.sets[s]
	now := &heralded{entries: make(map[addressKey]*entry, len(addrs))}
	if old != nil {
		now.announced = old.announced
	}
	for _, a := range addrs {
		now.entries[a.key()] = &entry{addr: a}
		if old != nil && old.entries[a.key()] != nil {
			now.entries[a.key()] = old.entries[a.key()]
		}
	}
	h.sets[s] = now
}

// drop ends what a set announces. When it returns, no frame is on its way.
func (h *herald) drop(s *Set) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sets, s)
}

// begin starts the schedules of a set and returns the first round, which is the
// caller's to send.
func (h *herald) begin(now time.Time, s *Set) ([]task, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.sets[s]
	switch {
	case h.closed:
		return nil, fmt.Errorf("the Manager is not open: %w", net.ErrClosed)
	case held == nil:
		return nil, nil
	}
	held.announced = true
	select {
	case <-h.begun:
	default:
		close(h.begun)
	}
	tasks := make([]task, 0, len(held.entries))
	for _, e := range held.entries {
		e.begin(now)
		e.due = time.Time{}
		tasks = append(tasks, task{set: s, addr: e.addr, run: e.run})
	}
	return sorted(tasks), nil
}

func (e *entry) begin(now time.Time) {
	e.run, e.round, e.start, e.due = e.run+1, 0, now, now
	e.retry, e.defend = 0, time.Time{}
}

func sorted(tasks []task) []task {
	slices.SortFunc(tasks, func(a, b task) int {
		return cmp.Or(cmp.Compare(a.addr.Interface, b.addr.Interface), a.addr.Addr.Compare(b.addr.Addr))
	})
	return tasks
}

// again starts the schedules of what a set has announced and for which fn is
// true.
func (h *herald) again(now time.Time, fn func(*Set, Address) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s, held := range h.sets {
		for _, e := range held.entries {
			if held.announced && fn(s, e.addr) {
				e.begin(now)
				notify(h.more)
			}
		}
	}
}

// take returns what is due, and each is the caller's to send.
func (h *herald) take(now time.Time) []task {
	h.mu.Lock()
	defer h.mu.Unlock()
	var tasks []task
	for s, held := range h.sets {
		for _, e := range held.entries {
			if !e.due.IsZero() && !now.Before(e.due) {
				e.due = time.Time{}
				tasks = append(tasks, task{set: s, addr: e.addr, run: e.run})
			}
			if !e.defend.IsZero() && !now.Before(e.defend) {
				e.defend = time.Time{}
				tasks = append(tasks, task{set: s, addr: e.addr, run: e.run, once: true})
			}
		}
	}
	return sorted(tasks)
}

// defend has an address announced once, beside its schedule and if it is still
// held then.
func (h *herald) defend(at time.Time, t task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entry(t); e != nil {
		e.defend = at
		notify(h.more)
	}
}

// announced returns what has been announced of an address, on each interface.
func (h *herald) announced(addr netip.Addr) (tasks []task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s, held := range h.sets {
		for _, e := range held.entries {
			if held.announced && e.addr.Addr == addr {
				tasks = append(tasks, task{set: s, addr: e.addr, run: e.run})
			}
		}
	}
	return sorted(tasks)
}

// next is when something will be due, zero for never.
func (h *herald) next() (at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, held := range h.sets {
		for _, e := range held.entries {
			for _, due := range []time.Time{e.due, e.defend} {
				if !due.IsZero() && (at.IsZero() || due.Before(at)) {
					at = due
				}
			}
		}
	}
	return at
}

// entry is what a task is about, nil if it is so no more.
func (h *herald) entry(t task) *entry {
	held := h.sets[t.set]
	if h.closed || held == nil {
		return nil
	}
	e := held.entries[t.addr.key()]
	if e == nil || e.run != t.run {
		return nil
	}
	return e
}

// outcome of one round of an address.
type outcome uint8

const (
	sent     outcome = iota
	unready          // the interface is down or gone, or has no carrier: again soon
	nobody           // there is nobody to tell, or the address is not there
	defeated         // an error: again soon
)

// finish notes what became of tasks, and says when their next rounds are due.
func (h *herald) finish(now time.Time, t task, o outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entry(t)
	if e == nil || t.once {
		return
	}
	switch o {
	case sent:
		h.advance(now, e)
	case nobody:
		e.due = time.Time{}
	case unready, defeated:
		e.retry = min(max(2*e.retry, retryFirst), retryMost)
		e.due = now.Add(e.retry)
	}
	notify(h.more)
}

func (h *herald) advance(now time.Time, e *entry) {
	if e.retry != 0 && e.round == 0 {
		e.start = now // the schedule begins when the first round has left
	}
	e.retry = 0
	e.round = min(e.round+1, len(rounds))
	switch {
	case e.round < len(rounds):
		e.due = e.start.Add(rounds[e.round])
	case h.refresh > 0:
		e.due = now.Add(h.refresh)
	default:
		e.due = time.Time{}
	}
}

// pace says how long to wait before the next frame may leave; if that is zero,
// it may leave now and is counted. The caller has the lock.
func (h *herald) pace(now time.Time) time.Duration {
	if wait := h.free.Add(-burst).Sub(now); wait > 0 {
		return wait
	}
	if h.free.Before(now) {
		h.free = now
	}
	h.free = h.free.Add(frameSpacing)
	return 0
}

// changed tells which of the interfaces have another MAC, or carrier again,
// since the last call.
func (h *herald) changed(links []Link) map[int]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	indexes := map[int]bool{}
	for _, l := range links {
		now := linkSeen{net.HardwareAddr(l.MAC).String(), l.Up && l.Carrier}
		was, known := h.links[l.Index]
		if known && now.carrier && now != was {
			indexes[l.Index] = true
		}
		h.links[l.Index] = now
	}
	for index := range h.links {
		if len(h.links) > len(links) && !slices.ContainsFunc(links, func(l Link) bool { return l.Index == index }) {
			delete(h.links, index)
		}
	}
	return indexes
}
