package health

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Of what only the log hears, and of changes whose forerunners wait, this much
// is queued for a slow OnChange or Logger.
const noticesMost = 1024

// notifier hands changes to OnChange and the Logger, in order, on one goroutine.
// Nobody waits for it.
type notifier struct {
	tell func(Change)
	log  *slog.Logger
	wake chan struct{}

	mu     sync.Mutex // guards all below, and member.forgotten
	queue  []notice
	most   int // when the queue is shrunk
	closed bool
}

// A notice is a change, or a result that only the log hears of.
type notice struct {
	m       *member
	change  Change
	result  error
	took    time.Duration
	onlyLog bool
}

func newNotifier(cfg Config) *notifier {
	return &notifier{tell: cfg.OnChange, log: cfg.Logger, wake: make(chan struct{}, 1), most: noticesMost}
}

// changed queues a change.
func (n *notifier) changed(m *member, c Change) {
	c.ID = m.id
	n.add(notice{m: m, change: c})
}

// probed queues a result, if somebody reads of such.
func (n *notifier) probed(m *member, r outcome) {
	if n.log.Enabled(context.Background(), slog.LevelDebug) {
		n.add(notice{m: m, result: r.err, took: r.took, onlyLog: true})
	}
}

func (n *notifier) add(one notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || one.onlyLog && len(n.queue) >= noticesMost {
		return
	}
	if len(n.queue) >= n.most {
		n.shrink()
	}
	n.queue = append(n.queue, one)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// shrink merges the changes of each check into one, in the place of its last. What
// is left is one notice for each check, so next time is when there are twice as many.
func (n *notifier) shrink() {
	first := map[*member]State{}
	count := map[*member]int{}
	for _, o := range n.queue {
		if o.onlyLog {
			continue
		}
		if count[o.m]++; count[o.m] == 1 {
			first[o.m] = o.change.From
		}
	}
	kept := n.queue[:0]
	for _, o := range n.queue {
		if o.onlyLog || o.m.forgotten {
			continue
		}
		if count[o.m]--; count[o.m] == 0 {
			o.change.From = first[o.m]
			kept = append(kept, o)
		}
	}
	clear(n.queue[len(kept):])
	n.queue = kept
	n.most = max(noticesMost, 2*len(kept))
}

// forget drops what is still to be told of a check.
func (n *notifier) forget(m *member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m.forgotten = true
}

// close lets run end when it has delivered what is queued.
func (n *notifier) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	close(n.wake)
}

// run delivers until close.
func (n *notifier) run() {
	for range n.wake {
		for one, ok := n.take(); ok; one, ok = n.take() {
			n.deliver(one)
		}
	}
}

func (n *notifier) take() (one notice, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.queue) > 0 {
		one, n.queue[0] = n.queue[0], notice{}
		n.queue = n.queue[1:]
		if !one.m.forgotten {
			return one, true
		}
	}
	n.queue = nil
	return notice{}, false
}

func (n *notifier) deliver(o notice) {
	c := &o.change
	switch {
	case o.onlyLog:
		n.log.Debug("probed", "check", o.m.id, "duration", o.took, "err", o.result)
		return
	case c.From == c.To:
		n.log.Info("weight changed", "check", c.ID, "weight", c.Weight)
	case c.Err != nil:
		n.log.Info("state changed", "check", c.ID, "state_from", c.From, "state_to", c.To, "err", c.Err)
	default:
		n.log.Info("state changed", "check", c.ID, "state_from", c.From, "state_to", c.To)
	}
	if n.tell != nil {
		n.tell(*c)
	}
}
