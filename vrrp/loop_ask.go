package vrrp

import (
	"context"
	"errors"
	"time"
)

var errWitnessBusy = errors.New("the witness has not returned from the last question yet")

// ask puts the question to the witness.
func (l *loop) ask(i *instance) {
	i.close()
	q := &i.asked
	q.number++
	q.open = true
	witness := i.cfg.Witness
	if q.running || witness == nil || l.stopping {
		// the machine hears of it as of any answer: after this step
		q.until, q.err = l.clock, errWitnessBusy
		return
	}
	patience := max(i.cfg.Interval, time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	q.until, q.cancel, q.running = l.clock+patience, cancel, true
	number := q.number
	l.running++
	l.workers.Go(func() {
		err := witness(ctx)
		cancel()
		l.box.post(func() {
			l.running--
			i.asked.running = false
			l.answer(i, number, err)
		})
	})
}

// answer takes the answer, unless it comes too late.
func (l *loop) answer(i *instance, number int, err error) {
	q := &i.asked
	if number != q.number || !q.open {
		return
	}
	i.close()
	if q.err == nil || !errors.Is(err, context.DeadlineExceeded) {
		q.err = err
	}
	l.step(i, input{kind: inWitness, on: q.err == nil})
	q.err = nil
}

// close ends the question.
func (i *instance) close() {
	q := &i.asked
	if q.cancel != nil {
		q.cancel()
	}
	q.open, q.until, q.cancel = false, never, nil
}
