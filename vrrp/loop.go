package vrrp

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// sleptFor is how late the loop may be before it looks once more at what has
	// come in, ahead of the timers.
	sleptFor = time.Millisecond
	// drainMost bounds the packets that are taken before timers may fire, so that a
	// flood does not silence the Active router.
	drainMost = 8192
	// manyPackets take so long that the clock is read again.
	manyPackets = 64
	// tickEvery is how often what the others do is looked at.
	tickEvery = time.Second
	// lateEvery is how often a LateTimer event may come.
	lateEvery = 10 * time.Second
	// binderPatience is how long Release may take when Run ends.
	binderPatience = 10 * time.Second
)

// loop is one Run. All but box and notify belongs to its goroutine.
type loop struct {
	edge      edge
	box       mailbox
	notify    *notifier
	instances []*instance
	machines  map[*machine]*instance
	heard     map[port]*[256]listeners
	lastPort  port // of heard, the one that was looked up last, and what was found
	lastHeard *[256]listeners
	virtual   map[netip.Addr]bool // addresses of the Routers
	links     map[string]link
	linked    bool                     // the links have been read once
	sources   map[sourceKey]netip.Addr // chosen for these links
	due       schedule
	clock     time.Duration // the time of this round
	wall      time.Time     // when its packets were taken
	stepped   time.Duration // the time of the last step
	nextTick  time.Duration
	letters   []func()
	packet    Packet
	data      datagram
	out       outgoing
	buf       []byte

	workers  sync.WaitGroup
	patience time.Duration
	stopping bool
	stopBy   time.Duration // when hanging callbacks are left alone
	running  int           // Binders and witnesses that have not ended
	err      error
}

// listeners are the instances that hear one VRID on one port.
type listeners struct{ first, second *instance }

func newLoop(e edge, n *notifier) *loop {
	l := &loop{
		edge: e, notify: n, patience: binderPatience, stopBy: never,
		machines: map[*machine]*instance{}, links: map[string]link{}, sources: map[sourceKey]netip.Addr{}, nextTick: never,
	}
	l.box.wake = e.wake
	return l
}

// add takes a Router in, before run.
func (l *loop) add(r *Router, cfg *Config, stats Stats) *instance {
	i := newInstance(r, cfg)
	i.stats = stats
	i.bind = newBind(cfg.Binder, func(b bound) { l.box.post(func() { l.bound(i, b) }) })
	l.instances = append(l.instances, i)
	l.machines[i.m] = i
	return i
}

// run is the life of the loop: packets first, then what others want of it, then
// timers.
func (l *loop) run() {
	l.clock = l.edge.now()
	l.nextTick = l.clock + tickEvery
	l.rewire()
	for _, i := range l.instances {
		l.running++
		l.workers.Go(i.bind.run)
		l.weigh(i, i.r.current())
	}
	for !l.ended() {
		l.round()
	}
	for _, i := range l.instances {
		i.r.stopped(i.status(l.notify))
	}
	for _, letter := range l.box.close() {
		letter()
	}
}

func (l *loop) round() {
	l.edge.wait(min(l.due.first(), l.nextTick, l.stopBy))
	l.clock = l.edge.now()
	if l.drain() > manyPackets {
		l.clock = l.edge.now()
	}
	l.open()
	l.fire()
}

// post hands f to the loop and waits until it is done; it is false if the loop has
// ended.
func (l *loop) post(f func(*loop)) bool {
	done := make(chan struct{})
	if !l.box.post(func() { defer close(done); f(l) }) {
		return false
	}
	<-done
	return true
}

// ended tells whether all is done that the end of Run takes.
func (l *loop) ended() bool {
	return l.stopping && (l.running == 0 || l.clock >= l.stopBy)
}

// drain takes the packets that have come, and counts them.
func (l *loop) drain() (n int) {
	l.wall = l.edge.wall()
	for n < drainMost && l.edge.receive(&l.data) {
		l.received(&l.data)
		n++
	}
	return n
}

// open does what others have asked for.
func (l *loop) open() {
	l.letters = l.box.take(l.letters[:0])
	for n, letter := range l.letters {
		letter()
		l.letters[n] = nil
	}
}

// fire does what is due. If the thread has slept beyond the deadline, there may
// be packets that came before it did.
func (l *loop) fire() {
	if first := l.due.next(); first <= l.clock {
		if l.clock-first > sleptFor {
			l.edge.wait(l.clock)
			l.clock = l.edge.now()
			l.drain()
		}
		l.timers()
	}
	if l.clock >= l.nextTick {
		l.nextTick = l.clock + tickEvery
		for _, i := range l.instances {
			l.events(i, i.o.tick(l.clock, i.m.state))
		}
	}
}

// timers fires those whose time has come. Each fires once at most: what makes
// itself due at once does not keep the packets waiting.
func (l *loop) timers() {
	limit := l.edge.now()
	for n := len(l.due.heap); n > 0; n-- {
		i := l.due.pop(limit)
		if i == nil {
			return
		}
		l.clock = l.edge.now()
		l.fireOne(i)
		l.plan(i)
	}
}

// fireOne does what is due of one instance.
func (l *loop) fireOne(i *instance) {
	now := l.clock
	if at, ok := i.m.deadline(); ok && at <= now {
		l.late(i, now-at)
		l.step(i, input{kind: inTick})
	}
	if i.linkDown <= now {
		i.linkDown = never
		l.fault(i, &i.faults.link, ReasonLink, true)
	}
	if i.asked.until <= now {
		l.answer(i, i.asked.number, context.DeadlineExceeded)
	}
	l.binderTimers(i)
}

// late counts a timer that came late.
func (l *loop) late(i *instance, late time.Duration) {
	i.stats.Latest = max(i.stats.Latest, late)
	if late <= i.cfg.Interval/2 {
		return
	}
	i.stats.LateTimers++
	if l.clock-i.lateTold >= lateEvery {
		i.lateTold = l.clock
		l.event(i, Event{Kind: LateTimer, Late: late})
	}
}

// plan makes sure that an instance is looked at in time.
func (l *loop) plan(i *instance) { l.due.set(i, i.deadline()) }

// step takes a machine one step and does what it wants.
func (l *loop) step(i *instance, in input) { l.stepAt(i, l.clock, in) }

// stepAt is step as of a time that may be a little before the round began.
func (l *loop) stepAt(i *instance, at time.Duration, in input) {
	l.stepped = max(l.stepped, at)
	for _, a := range i.m.step(l.stepped, in) {
		target := i
		if a.m != i.m {
			target = l.machines[a.m]
		}
		l.act(target, a)
	}
	l.settle(i)
	if members := i.m.group.members; len(members) > 1 {
		for _, m := range members {
			l.settle(l.machines[m])
		}
	}
}

// settle does what follows from a new state of a machine.
func (l *loop) settle(i *instance) {
	if i.asked.open && !i.m.wait.asking {
		i.close()
	}
	l.plan(i)
}

func (l *loop) act(i *instance, a action) {
	switch a.kind {
	case actAdvertise:
		l.advertise(i, a.priority)
	case actAcquire:
		l.acquire(i, true)
	case actRelease:
		l.release(i)
	case actAnnounce:
		i.bind.announce()
	case actWitness:
		l.ask(i)
	case actEvent:
		l.event(i, a.event)
	}
}

// start lets an instance take part, once the links are known and the Binder has
// released what a predecessor left.
func (l *loop) start(i *instance) {
	if l.linked && i.cleared && !i.started && !l.stopping {
		i.started = true
		l.step(i, input{kind: inStart})
	}
}

// stop resigns and lets go; the loop ends when that is done.
func (l *loop) stop() {
	if l.stopping {
		return
	}
	l.stopping = true
	l.stopBy = l.clock + l.patience
	for _, i := range l.instances {
		if i.started {
			l.step(i, input{kind: inStop})
		}
		i.close()
		i.hold.retry, i.hold.giveUp, i.hold.forgive, i.linkDown = never, never, never, never
	}
	for _, i := range l.instances {
		i.bind.end(l.patience)
	}
}
