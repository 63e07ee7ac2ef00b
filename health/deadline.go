package health

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// settle is how much longer than this process was late something takes that has
	// come in meanwhile.
	settle = 4 * watchEvery
	// A process that can do hardly anything gives a probe no more than longerTimes
	// its timeout, nor longerMost on top of it.
	longerTimes = 10
	longerMost  = 30 * time.Second
)

// run is one probe under way. The Monitor's mutex guards what changes.
type run struct {
	p       *probe
	prober  Prober
	timeout time.Duration
	began   time.Time
	at      time.Duration // the same by the Monitor's clock
	starved time.Duration // the Monitor's hunger then
	credit  time.Duration // what does not count of its time
	told    time.Duration // from the beginning to the Deadline that the Prober sees
	ctx     probeContext
	// Its time is over, perhaps because it could not go on.
	expired, short bool
}

// end is when its time is over, as far as is known: when it had its timeout, without
// what it was starved of, and time enough to find what came in last.
func (r *run) end(h *starvation) time.Duration {
	if r.expired {
		return never
	}
	at := r.at + r.timeout + r.credit
	if worst := h.worst(r.at); worst.late > 0 {
		at = max(at, worst.at+worst.late+settle)
	}
	return min(at, r.at+longest(r.timeout))
}

// expire ends the time of a probe, unless it has gone on since it was looked at last:
// then what the process was starved of until now does not count. What is only waited
// for is here as soon as the process is, however late that was while it waited.
func (r *run) expire(h *starvation, now time.Duration) {
	starved, most := h.total-r.starved, r.at+longest(r.timeout)
	if now < most && r.ctx.wentOn() && starved > r.credit {
		r.credit = starved
		return
	}
	r.expired, r.short = true, now >= most
	r.ctx.end(context.DeadlineExceeded)
}

// longest is the most that a probe takes, however starved this process is.
func longest(timeout time.Duration) time.Duration {
	return timeout + min((longerTimes-1)*timeout, longerMost)
}

// probeContext is the context of a probe. The Monitor ends it: it has no timer of its
// own, and may outlast its Deadline.
type probeContext struct {
	context.Context // of Run, for its values
	deadline        time.Time
	progress        atomic.Uint32 // waits or moved, if the Prober is one that tells
	silent          atomic.Bool   // a part of it has passed by silence

	mu    sync.Mutex    // guards what is below
	ended chan struct{} // nil as long as nobody asks
	err   error
	after []*func()
}

// What a Prober tells of its progress.
const (
	waits = 1 + iota
	moved
)

// probeKey is the key of a probeContext in those that derive from it.
type probeKey struct{}

func (c *probeContext) Value(key any) any {
	if key == (probeKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// asks tells the Monitor that a Prober now waits for the network, and will tell when it
// goes on.
func asks(ctx context.Context) {
	if c, ok := probing(ctx); ok {
		c.progress.CompareAndSwap(0, waits)
	}
}

// goesOn tells the Monitor that something has come from the network.
func goesOn(ctx context.Context) {
	if c, ok := probing(ctx); ok {
		c.progress.Store(moved)
	}
}

// silence tells the Monitor that what passes does so because nothing was heard.
func silence(ctx context.Context) {
	if c, ok := probing(ctx); ok {
		c.silent.Store(true)
	}
}

func probing(ctx context.Context) (*probeContext, bool) {
	c, ok := ctx.(*probeContext)
	if !ok {
		c, ok = ctx.Value(probeKey{}).(*probeContext)
	}
	return c, ok
}

// wentOn is whether the Prober has gone on since this was asked last, or may have.
func (c *probeContext) wentOn() bool {
	return c.progress.Load() == 0 || c.progress.CompareAndSwap(moved, waits)
}

// Deadline is when the context ends if this process is in time.
func (c *probeContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *probeContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = make(chan struct{})
		if c.err != nil {
			close(c.ended)
		}
	}
	return c.ended
}

func (c *probeContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc is what context.AfterFunc, and contexts that derive from this one, call
// instead of waiting for Done in a goroutine.
func (c *probeContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	one := &f
	c.after = append(c.after, one)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		n := slices.Index(c.after, one)
		if n < 0 {
			return false
		}
		c.after = slices.Delete(c.after, n, n+1)
		return true
	}
}

// end ends the context, unless it has ended.
func (c *probeContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.ended != nil {
		close(c.ended)
	}
	for _, f := range c.after {
		go (*f)()
	}
	c.after = nil
}
