package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/lvskit/lvskit/internal/netns"
)

// Read reads settings. Keys that the kernel does not have are not in the
// answer, which is no error.
func (c *Client) Read(ctx context.Context, keys ...Key) (Values, error) {
	var have Values
	err := c.do(ctx, "read", func(p proc) (err error) {
		have, err = p.readAll(ctx, keys)
		return err
	})
	return have, err
}

// ReadInterfaces reads net/ipv4/conf/*/NAME: of all interfaces of the
// namespace, of "all" and of "default".
func (c *Client) ReadInterfaces(ctx context.Context, name string) (Values, error) {
	var have Values
	err := c.do(ctx, "read", func(p proc) error {
		keys, err := p.interfaceKeys("ipv4", name)
		if err != nil {
			return err
		}
		have, err = p.readAll(ctx, keys)
		return err
	})
	return have, err
}

// Plan is the dry run of Apply: what it would change in this kernel.
func (c *Client) Plan(ctx context.Context, want []Setting) ([]Change, error) {
	var changes []Change
	err := c.do(ctx, "plan", func(p proc) (err error) {
		changes, err = p.plan(ctx, want)
		return err
	})
	return changes, err
}

// Apply makes the kernel as wanted and returns what it changed, in order. It
// reads the kernel, plans as by [Plan], writes, and reads back; what is right
// already is not written. A key that is missing stops it before the first
// write. On a later error it returns the changes that were made up to there:
// give them to Restore, or call Apply again.
//
// Errors match fs.ErrNotExist (no such key, interface or namespace),
// fs.ErrPermission, ErrReadOnly, ErrNotKept, and those of [Plan].
func (c *Client) Apply(ctx context.Context, want []Setting) ([]Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var done []Change
	err := c.do(ctx, "apply", func(p proc) error {
		written := make(map[Key]bool)
		for {
			changes, err := p.plan(ctx, want)
			if err != nil || len(changes) == 0 {
				return err
			}
			// What this one resets is planned anew from what the kernel made of it.
			if resetFamily(changes[0].Key) != "" {
				changes = changes[:1]
			}
			for _, ch := range changes {
				if written[ch.Key] {
					return &OpError{Op: "write", Object: ch.Key.String(), Err: fmt.Errorf("%w: it is %q again", ErrNotKept, ch.Old)}
				}
				written[ch.Key] = true
			}
			made, err := c.execute(ctx, p, changes)
			done = append(done, made...)
			if err != nil {
				return err
			}
		}
	})
	return done, err
}

// execute notes the changes, makes them, and returns those made.
func (c *Client) execute(ctx context.Context, p proc, changes []Change) ([]Change, error) {
	file, err := c.openRecord(p)
	if err != nil {
		return nil, err
	}
	before := file.record
	if err := file.save(before.with(changes)); err != nil {
		return nil, err
	}
	for i, ch := range changes {
		if err = ctx.Err(); err == nil {
			err = c.write(p, ch)
		}
		if err != nil {
			return changes[:i], errors.Join(err, file.save(before.with(changes[:i])))
		}
	}
	return changes, nil
}

func (c *Client) write(p proc, ch Change) error {
	if err := p.write(ch.Key, ch.New); err != nil {
		return err
	}
	c.config.Logger.Info("kernel setting changed", "key", ch.Key.String(), "old", ch.Old, "new", ch.New, "reason", ch.Reason)
	return nil
}

// Check compares what the kernel does with what is wanted, as [Check] does.
func (c *Client) Check(ctx context.Context, want []Setting) ([]Finding, error) {
	var findings []Finding
	err := c.do(ctx, "check", func(p proc) error {
		have, err := p.readAll(ctx, Keys(want))
		if err != nil {
			return err
		}
		findings, err = Check(have, want)
		return err
	})
	return findings, err
}

// Recorded are the changes that Config.Record has for this boot and network
// namespace, oldest first: what this program or the one before it, which may
// have been killed, changed and did not restore. Give them to Restore.
func (c *Client) Recorded(ctx context.Context) ([]Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changes []Change
	err := c.do(ctx, "read record", func(p proc) error {
		file, err := c.openRecord(p)
		changes = file.record.Changes
		return err
	})
	return changes, err
}

// Restore takes changes back, the last first, where the value is still the one
// that was set, and puts back what the kernel reset along with them. It
// returns the writes that it made, and in left the changes that it did not
// take back: those whose value another has set since, which is no error, and
// those that failed, after which it goes on with the others. What is as before
// already, or gone with its interface, is in neither. Changes of several calls
// of Apply are given in the order in which they were made.
//
// All but what failed is then removed from Config.Record. At the end of a
// program, mind to pass a context that is not yet done.
func (c *Client) Restore(ctx context.Context, changes []Change) (restored, left []Change, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.do(ctx, "restore", func(p proc) error {
		var keys []Key
		for _, ch := range changes {
			if err := ch.Key.Validate(); err != nil {
				return err
			}
			keys = append(keys, ch.Key)
		}
		have, err := p.readAll(ctx, keys)
		if err != nil {
			left = changes
			return err
		}
		u := planUndo(have, changes)
		left = u.left
		// What resets other keys comes last, or it would undo the undoing.
		slices.SortStableFunc(u.writes, func(a, b undoWrite) int { return rank(b.of.Key) - rank(a.of.Key) })
		var errs []error
		var failed []Change
		for _, w := range u.writes {
			made, err := c.undo(ctx, p, w, left)
			restored = append(restored, made...)
			if err != nil {
				errs = append(errs, err)
				failed = append(failed, w.of)
			}
		}
		left = append(left, failed...)
		file, err := c.openRecord(p)
		if err == nil {
			err = file.save(file.record.without(changes, failed))
		}
		return errors.Join(append(errs, err)...)
	})
	return restored, left, err
}

// undo takes one change back and returns the writes that were made for it.
func (c *Client) undo(ctx context.Context, p proc, w undoWrite, left []Change) ([]Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var keys []Key
	for _, r := range w.back.Resets {
		keys = append(keys, r.Key)
	}
	before, err := p.readAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	if err := c.write(p, w.back); err != nil {
		return nil, err
	}
	made := []Change{w.back}
	after, err := p.readAll(ctx, keys)
	if err != nil {
		return made, err
	}
	var errs []error
	for _, ch := range afterReset(w, before, after, left) {
		err := c.write(p, ch)
		if err == nil {
			made = append(made, ch)
		}
		if !errors.Is(err, fs.ErrNotExist) { // gone in the meantime
			errs = append(errs, err)
		}
	}
	return made, errors.Join(errs...)
}

// do calls fn on a thread in the client's network namespace: what is below
// /proc/sys/net belongs to the thread that looks.
func (c *Client) do(ctx context.Context, op string, fn func(proc) error) error {
	if err := ctx.Err(); err != nil {
		return &OpError{Op: op, Err: err}
	}
	err := netns.Do(c.config.NetNS, func() error { return fn(proc{root: c.config.Root}) })
	var own *OpError
	if err == nil || errors.As(err, &own) {
		return err
	}
	return &OpError{Op: op, Err: err}
}
