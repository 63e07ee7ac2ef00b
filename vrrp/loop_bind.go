package vrrp

import (
	"errors"
	"fmt"
	"time"
)

const (
	bindPauseMost = 10 * time.Second
	bindFaultFor  = 30 * time.Second
)

// acquire makes the Binder hold the addresses.
func (l *loop) acquire(i *instance, announce bool) {
	i.hold.retry = never
	i.bind.acquire(announce)
}

// release makes it let go.
func (l *loop) release(i *instance) {
	i.hold.retry, i.hold.pause, i.hold.giveUp = never, 0, never
	i.bind.release()
}

// bound takes what a call of the Binder has come to.
func (l *loop) bound(i *instance, b bound) {
	if b.op == "end" {
		l.running--
		return
	}
	current := b.number == i.bind.number()
	overtaken := b.op != "release" && (!current || i.m.state != Active)
	if b.op == "announce" && i.cfg.Binder != nil {
		i.stats.Announced++
	}
	if b.err != nil && !(overtaken && ended(b.err)) {
		i.stats.BinderErrors++
		i.hold.err = b.err
		l.event(i, Event{Kind: BinderFailed, Err: fmt.Errorf("%s: %w", b.op, b.err)})
	} else if b.err == nil {
		i.hold.err = nil
	}
	switch {
	case b.op == "acquire":
		i.hold.held = b.err == nil && !overtaken
	case b.op == "release":
		i.hold.held = i.hold.held && b.err != nil
	}
	if l.stopping {
		if b.op == "release" {
			l.err = errors.Join(l.err, opError("release", i.cfg.Name, b.err))
		}
		return
	}
	if b.op == "release" && !i.cleared {
		i.cleared = true
		l.start(i)
	}
	if b.op != "announce" && current {
		l.retry(i, b)
	}
	l.plan(i)
}

// retry plans what follows from a failed or a successful call.
func (l *loop) retry(i *instance, b bound) {
	h := &i.hold
	if b.err == nil {
		h.retry, h.pause, h.giveUp = never, 0, never
		return
	}
	if h.pause = min(2*h.pause, bindPauseMost); h.pause == 0 {
		h.pause = min(i.cfg.Interval, bindPauseMost)
	}
	h.retry = l.clock + h.pause
	if b.op == "acquire" && h.giveUp == never {
		h.giveUp = l.clock + i.downInterval()
	}
}

// binderTimers does what is due about the Binder.
func (l *loop) binderTimers(i *instance) {
	h, now := &i.hold, l.clock
	if h.retry <= now {
		h.retry = never
		if i.m.state == Active {
			i.bind.acquire(true)
		} else {
			i.bind.release()
		}
	}
	if h.giveUp <= now {
		h.giveUp, h.forgive = never, now+bindFaultFor
		l.fault(i, &i.faults.binder, ReasonBinder, true)
	}
	if h.forgive <= now {
		h.forgive = never
		l.fault(i, &i.faults.binder, ReasonBinder, false)
	}
}
