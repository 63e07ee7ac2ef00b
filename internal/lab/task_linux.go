package lab

import (
	"context"
	"errors"

	"github.com/lvskit/lvskit/internal/netns"
)

// Task is a function that runs on a host.
type Task struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

// Go runs fn on the host, see Do, until it returns. It must return soon after
// ctx ends, which it does with Task.Stop or Lab.Close; both wait for fn.
func (h *Host) Go(fn func(ctx context.Context) error) *Task {
	ctx, cancel := context.WithCancel(h.lab.ctx)
	t := &Task{cancel: cancel, done: make(chan struct{})}
	err := h.lab.use(func() error {
		h.lab.users.Add(1)
		return nil
	})
	if err != nil {
		cancel()
		t.err = h.wrap("go", err)
		close(t.done)
		return t
	}
	netns.Go(func() {
		defer h.lab.users.Done()
		defer close(t.done)
		defer cancel()
		if t.err = h.wrap("go", netns.Enter(h.space.file)); t.err == nil {
			t.err = fn(ctx)
		}
	})
	return t
}

// Stop ends the function and returns its error, but not context.Canceled.
func (t *Task) Stop() error {
	t.cancel()
	<-t.done
	if errors.Is(t.err, context.Canceled) {
		return nil
	}
	return t.err
}

// Wait waits until the function has returned, and returns its error, or that
// of ctx.
func (t *Task) Wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
