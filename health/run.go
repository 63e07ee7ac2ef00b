package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// joinMost is how long Run waits for Probers that take no notice of their context.
const joinMost = 10 * time.Second

// roundLeast is how long the loop sleeps at least, so that thousands of checks a second
// do not wake it up thousands of times.
const roundLeast = time.Millisecond

// errGone is the result of a Prober that has ended its goroutine.
var errGone = inconclusive(errors.New("the Prober ended its goroutine (runtime.Goexit)"))

// clock is the time of day, with that of the monotonic clock.
func clock() time.Time { return time.Now() }

// now is the time since the epoch of the Monitor, by the monotonic clock.
func (m *Monitor) now() time.Duration { return time.Since(m.epoch) }

// loop is one Run. The Monitor's mutex guards all but what is above due.
type loop struct {
	m       *Monitor
	ctx     context.Context // of the probes
	notify  *notifier
	wake    chan struct{}
	watch   chan struct{} // a worker has begun
	workers sync.WaitGroup

	due      schedule
	queue    queue
	working  int           // workers, each with a probe under way
	fresh    int           // probes that have not been made yet
	next     time.Duration // when the loop looks again
	watched  time.Duration // when the watchdog looks again
	stopping bool
}

func (m *Monitor) run(ctx context.Context) error {
	l := &loop{
		m: m, ctx: context.WithoutCancel(ctx), notify: newNotifier(m.cfg), next: never, watched: never,
		wake: make(chan struct{}, 1), watch: make(chan struct{}, 1),
	}
	// Probes do not see ctx: they would fail before the loop knows why.
	guarding, cancel := context.WithCancel(l.ctx)
	defer cancel()
	if !l.begin() {
		return opError("run", "", ErrRunning)
	}
	var telling sync.WaitGroup
	telling.Go(l.notify.run)
	l.workers.Go(func() { l.guard(guarding) })
	l.turn(ctx)
	l.end()
	cancel()
	err := l.join()
	l.notify.close()
	telling.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notify = nil
	return opError("run", "", err)
}

// begin makes the loop that of the Monitor, unless it has one.
func (l *loop) begin() bool {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.notify != nil {
		return false
	}
	m.loop, m.notify = l, l.notify
	now := m.now()
	probes := map[*probe]bool{}
	for _, one := range m.checks {
		probes[one.probe] = true
		if one.known.last.IsZero() {
			one.fromAt, one.starved = now, m.hunger.total
		}
	}
	l.fresh = len(probes)
	for p := range probes {
		wait, _ := p.wait()
		p.fresh, p.due = true, now+firstAfter(p.name(), wait, l.fresh)
		l.due.set(p, p.deadline(&m.hunger))
	}
	return true
}

// end takes the loop from the Monitor; what is under way is cancelled.
func (l *loop) end() {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.stopping, l.next, l.watched = true, never, never
	l.m.loop = nil
	for _, one := range l.m.checks {
		l.abandon(one.probe)
		one.probe.planned, one.probe.fresh = false, false
	}
}

// join waits for the workers.
func (l *loop) join() error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.workers.Wait()
	}()
	timer := time.NewTimer(joinMost)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	return fmt.Errorf("%d probes have not returned %v after they were cancelled: %w", l.working, joinMost, context.DeadlineExceeded)
}

// turn is the life of the loop.
func (l *loop) turn(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.wake:
		case <-ctx.Done():
			return
		}
		timer.Reset(max(l.round(), roundLeast))
	}
}

// round does what is due and says how long to wait then.
func (l *loop) round() time.Duration {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	l.late(now)
	for p := l.due.pop(now); p != nil; p = l.due.pop(now) {
		l.fire(p, now)
	}
	l.next = l.due.first()
	return max(l.next-now, 0)
}

// late tells that the loop, or the watchdog, should have come before.
func (l *loop) late(now time.Duration) {
	l.m.hunger.late(l.next, now)
	l.m.hunger.late(l.watched, now)
}

// guard is the watchdog: while probes are under way it sees how late this process
// is. A goroutine that the network wakes up may come after all others that wait for a
// processor, and so does one that calls Gosched.
func (l *loop) guard(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.watch:
		case <-ctx.Done():
			return
		}
		runtime.Gosched()
		if l.look() {
			timer.Reset(watchEvery)
		}
	}
}

// look says whether the watchdog is needed.
func (l *loop) look() bool {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.hunger.late(l.watched, now)
	l.watched = never
	needed := l.working > 0 && !l.stopping
	if needed {
		l.watched = now + watchEvery
	}
	return needed
}

// sooner makes the loop look at a schedule that has become earlier.
func (l *loop) sooner() {
	if first := l.due.first(); first < l.next {
		l.next = first
		rouse(l.wake)
	}
}

// rouse wakes up who waits for the channel, now or next time.
func rouse(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fire does what is due of a probe.
func (l *loop) fire(p *probe, now time.Duration) {
	for _, one := range p.members {
		if one.ageEnd(l.m.hunger.total) <= now {
			l.notify.changed(one, one.known.expire(clock(), one.check.MaxAge))
		}
	}
	switch {
	case p.phase == idle && p.due <= now:
		l.start(p, now)
	case p.phase == waiting && p.asked+p.timeout() <= now:
		l.queue.remove(p)
		err := inconclusive(fmt.Errorf("all %d places for probes were taken for %v", l.m.cfg.Probes, p.timeout()))
		l.conclude(p, now, now, outcome{at: clock(), err: err})
	case p.phase == underway && p.run.end(&l.m.hunger) <= now:
		p.run.expire(&l.m.hunger, now)
	}
	l.due.set(p, p.deadline(&l.m.hunger))
}

// start gives a probe to a worker, or to the queue.
func (l *loop) start(p *probe, now time.Duration) {
	if l.working >= l.m.cfg.Probes {
		p.phase, p.asked = waiting, now
		l.queue.push(p)
		return
	}
	if l.working++; l.working == 1 {
		l.watched = min(l.watched, now)
		rouse(l.watch)
	}
	r := l.launch(p, now)
	l.workers.Go(func() { l.work(r) })
}

// launch puts a probe under way.
func (l *loop) launch(p *probe, now time.Duration) *run {
	if p.fresh {
		p.fresh = false
		l.fresh--
	}
	r := &run{p: p, prober: p.prober, timeout: p.timeout(), began: clock(), at: now, starved: l.m.hunger.total}
	r.told = allowed(l.m.hunger.worst(p.began).late, r.timeout)
	r.ctx.Context = l.ctx
	p.began = now
	p.phase, p.run = underway, r
	return r
}

// work is a worker: it makes one probe after the other, while some wait.
func (l *loop) work(r *run) {
	for r != nil {
		r = l.make(r)
	}
}

// make makes a probe, and returns another that has waited.
func (l *loop) make(r *run) (next *run) {
	report, err := Report{}, errGone
	defer func() {
		r.ctx.end(context.Canceled)
		next = l.done(r, report, err)
	}()
	r.ctx.deadline = clock().Add(r.told) // a worker may come late
	report, err = r.prober.Probe(&r.ctx)
	return nil
}

// done takes the result of a probe.
func (l *loop) done(r *run, report Report, err error) (next *run) {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	now, ended := m.now(), clock()
	l.late(now)
	if p := r.p; p.run == r {
		p.run = nil
		err = l.judge(r, ended, err)
		l.conclude(p, r.at, now, outcome{at: ended, took: ended.Sub(r.began), report: report, err: err})
		l.due.set(p, p.deadline(&m.hunger))
	}
	if p := l.queue.head; p != nil && !l.stopping {
		l.queue.remove(p)
		next = l.launch(p, now)
		l.due.set(p, p.deadline(&m.hunger))
	} else {
		l.working--
	}
	l.sooner()
	return next
}

// errSilent is a pass because nothing was heard (Not).
var errSilent = errors.New("nothing was heard")

// judge excuses a result that may be due to this machine alone.
func (l *loop) judge(r *run, ended time.Time, err error) error {
	took, doubtful := ended.Sub(r.began), err
	if err == nil && r.ctx.silent.Load() {
		doubtful = errSilent
	}
	if doubtful == nil || errors.Is(err, ErrInconclusive) || refused(err) {
		return err
	}
	enough := r.told / starvedShare
	switch {
	case r.expired && r.short:
		enough = took / starvedShare
	case r.expired:
		enough = never // it had all the time that it should have
	}
	if excused := excuse(l.m.hunger.worst(r.at).late, enough, parted(r.began, ended), r.timeout, doubtful); excused != nil {
		return excused
	}
	return err
}

// conclude gives a result to the members, and says when the next probe is due.
func (l *loop) conclude(p *probe, began, now time.Duration, r outcome) {
	for _, one := range p.members {
		l.notify.probed(one, r)
		if !errors.Is(r.err, ErrInconclusive) {
			one.fromAt, one.starved = now, l.m.hunger.total
		}
		if c, ok := one.known.take(&one.check, r); ok {
			l.notify.changed(one, c)
		}
	}
	wait, jitter := p.wait()
	p.phase = idle
	p.due = nextAfter(p.due, began, now, jittered(wait, jitter, 2*rand.Float64()-1))
}

// abandon makes a probe idle: what it does now is of no interest any more.
func (l *loop) abandon(p *probe) {
	switch {
	case p.phase == waiting:
		l.queue.remove(p)
	case p.run != nil:
		p.run.ctx.end(context.Canceled)
	}
	p.run, p.phase = nil, idle
}
