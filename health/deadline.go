package health

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// settle is how long nobody was late when a probe's time is over: what has come in
	// while this process could do nothing is read first.
	settle = 2 * watchEvery
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
	told    time.Duration // from the beginning to the Deadline that the Prober sees
	ctx     probeContext
	// Its time is over, perhaps before it had a whole timeout without starvation.
	expired, short bool
}

// end is when its time is over, if the process starves no more than it has: when it
// had its timeout, and what it was starved of besides.
func (r *run) end(h *starvation) time.Duration {
	if r.expired {
		return never
	}
	at := r.at + r.timeout + h.total - r.starved
	if h.until > r.at {
		at = max(at, h.until+settle)
	}
	return min(at, r.at+longest(r.timeout))
}

// longest is the most that a probe takes, however starved this process is.
func longest(timeout time.Duration) time.Duration {
	return timeout + min((longerTimes-1)*timeout, longerMost)
}

// expire ends the time of a probe.
func (r *run) expire(h *starvation, now time.Duration) {
	r.expired, r.short = true, now-r.at-(h.total-r.starved) < r.timeout
	r.ctx.end(context.DeadlineExceeded)
}

// probeContext is the context of a probe. The Monitor ends it: it has no timer of its
// own, and may outlast its Deadline.
type probeContext struct {
	context.Context // of Run, for its values
	deadline        time.Time

	mu    sync.Mutex    // guards what is below
	ended chan struct{} // nil as long as nobody asks
	err   error
	after []*func()
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
