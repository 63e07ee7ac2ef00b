package vrrp

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"
)

// releaseAtStart is how long the first Release may take.
const releaseAtStart = 10 * time.Second

// bind calls one Router's Binder, from one goroutine, beside the loop. The
// latest wish wins: a wish that is overtaken is never begun, and an Acquire or
// Announce that has begun is told by its context to end when Release is wished.
type bind struct {
	report func(bound)
	wake   chan struct{}

	mu       sync.Mutex // guards all below
	binder   Binder
	wish     wish
	cancel   context.CancelFunc // of the Acquire or Announce that runs
	patience time.Duration      // of the last Release
}

// A wish is what the loop wants of the Binder.
type wish struct {
	number   int  // of the wish to acquire or release: a newer one has a greater number
	acquire  bool // or release
	announce bool
	end      bool // the goroutine ends when it has released
}

// bound is what a call of the Binder, or the end of the goroutine, has come to.
type bound struct {
	op     string // "acquire", "release", "announce", or "end"
	number int    // of the wish
	err    error
}

func newBind(b Binder, report func(bound)) *bind {
	return &bind{report: report, wake: make(chan struct{}, 1), binder: b, wish: wish{number: 1}}
}

// change makes a wish.
func (b *bind) change(f func(w *wish)) (number int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wish.end {
		return b.wish.number
	}
	f(&b.wish)
	if !b.wish.acquire && b.cancel != nil {
		b.cancel()
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return b.wish.number
}

// acquire wishes that the addresses are held; announce that they are announced
// then.
func (b *bind) acquire(announce bool) (number int) {
	return b.change(func(w *wish) {
		w.number++
		w.acquire, w.announce = true, w.announce || announce
	})
}

func (b *bind) release() (number int) {
	return b.change(func(w *wish) {
		w.number++
		w.acquire, w.announce = false, false
	})
}

// announce wishes one more announcement.
func (b *bind) announce() {
	b.change(func(w *wish) { w.announce = w.acquire })
}

// replace puts another Binder in the place of this one.
func (b *bind) replace(to Binder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.binder = to
}

// end wishes a release, if there is something to release, and the end.
func (b *bind) end(patience time.Duration) {
	b.mu.Lock()
	b.patience = patience
	b.mu.Unlock()
	b.change(func(w *wish) {
		if w.acquire {
			w.number++
		}
		w.acquire, w.announce, w.end = false, false, true
	})
}

// run fulfils wishes until the end is wished.
func (b *bind) run() {
	done := 0         // number of the last wish that was dealt with
	acquired := false // and it was to acquire, successfully
	b.mu.Lock()
	holder := b.binder // its Acquire was called, or a predecessor's, and no Release has succeeded since
	b.mu.Unlock()
	for {
		w, to := b.next(done)
		switch {
		case w.number != done && w.acquire:
			if holder != nil && !sameBinder(holder, to) {
				if b.call(w, "release", holder) != nil {
					done = w.number
					continue
				}
			}
			holder, done = to, w.number
			acquired = b.call(w, "acquire", to) == nil
		case w.number != done || w.end && holder != nil:
			acquired = false
			if holder == nil {
				holder = to
			}
			if b.call(w, "release", holder) == nil {
				holder = nil
			}
			done = w.number
			if w.end {
				b.report(bound{op: "end"})
				return
			}
		case w.end:
			b.report(bound{op: "end"})
			return
		case w.announce && acquired:
			b.call(w, "announce", to)
		}
	}
}

// next waits for a wish.
func (b *bind) next(done int) (wish, Binder) {
	for {
		b.mu.Lock()
		w, to := b.wish, b.binder
		if w.number == done {
			b.wish.announce = false
		}
		b.mu.Unlock()
		if w.number != done || w.announce || w.end {
			return w, to
		}
		<-b.wake
	}
}

// call calls one method of the Binder and reports what came of it.
func (b *bind) call(w wish, op string, to Binder) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.mu.Lock()
	switch {
	case op != "release":
		b.cancel = cancel
		if !b.wish.acquire {
			cancel()
		}
	case w.end:
		ctx, cancel = context.WithTimeout(ctx, b.patience*4/5)
		defer cancel()
	case w.number == 1:
		ctx, cancel = context.WithTimeout(ctx, releaseAtStart)
		defer cancel()
	}
	b.mu.Unlock()
	var err error
	switch {
	case to == nil:
	case op == "acquire":
		err = to.Acquire(ctx)
	case op == "release":
		err = to.Release(ctx)
	case op == "announce":
		err = to.Announce(ctx)
	}
	b.mu.Lock()
	b.cancel = nil
	b.mu.Unlock()
	b.report(bound{op: op, number: w.number, err: err})
	return err
}

// number is that of the latest wish.
func (b *bind) number() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wish.number
}

// sameBinder compares Binders, of which there may be some that cannot be
// compared and are as good as new.
func sameBinder(a, b Binder) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Comparable() && a == b
}

// ended tells that a call failed because it was told to end.
func ended(err error) bool { return errors.Is(err, context.Canceled) }
