package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// errLimit is a machine that took too long.
var errLimit = errors.New("the machine was killed")

// A watch waits for the end of a machine by the files that it writes: "ready"
// when it has booted, "beat" every 5 s, "done" at the end of the script.
type watch struct {
	Limits
	dir   string
	ended <-chan error // QEMU's end
	start time.Time
	over  bool // ended has been received

	ready, done time.Time // when each was seen, or zero
	beat        string
	beaten      time.Time // when beat changed last
}

// wait returns nil when the script is over, and otherwise why it is not.
// The machine still runs unless w.over.
func (w *watch) wait(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-w.ended:
			w.over = true
			w.look(time.Now())
			return w.end(ctx, err)
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			w.look(now)
			if !w.done.IsZero() && now.Sub(w.done) > w.Halt {
				return nil
			}
			if err := w.late(now); err != nil {
				return err
			}
		}
	}
}

// look reads what the machine has written.
func (w *watch) look(now time.Time) {
	if w.ready.IsZero() && exists(w.dir, "ready") {
		w.ready, w.beaten = now, now
	}
	if w.done.IsZero() && exists(w.dir, "done") {
		w.done = now
	}
	if beat, err := os.ReadFile(filepath.Join(w.dir, "beat")); err == nil && string(beat) != w.beat {
		w.beat, w.beaten = string(beat), now
	}
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// late tells which limit is exceeded.
func (w *watch) late(now time.Time) error {
	switch {
	case !w.done.IsZero():
		return nil
	case w.ready.IsZero() && now.Sub(w.start) > w.Boot:
		return fmt.Errorf("%w: it did not boot in %v", errLimit, w.Boot)
	case !w.ready.IsZero() && now.Sub(w.beaten) > w.Silence:
		return fmt.Errorf("%w: it gave no sign of life for %v", errLimit, w.Silence)
	case w.Total > 0 && now.Sub(w.start) > w.Total:
		return fmt.Errorf("%w: it was not done in %v", errLimit, w.Total)
	}
	return nil
}

// end judges the end of QEMU.
func (w *watch) end(ctx context.Context, err error) error {
	switch {
	case !w.done.IsZero():
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("the machine died: %w", err)
	case w.ready.IsZero():
		return errors.New("the machine went off before it had booted")
	}
	return errors.New("the machine went off before its script ended")
}
