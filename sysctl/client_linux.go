package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

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
// already is not written. What an earlier Apply set and this one does not want
// any more stays until Restore. A key that is missing stops it before the first
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
			if rank(changes[0].Key) < 2 {
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
	return changes, c.observe(ctx, p, file, before, changes)
}

// observe replaces what the kernel was to reset by what it did, here and in
// the record.
func (c *Client) observe(ctx context.Context, p proc, file *recordFile, before record, changes []Change) error {
	seen := false
	for _, ch := range changes {
		for i, r := range ch.Resets {
			now, err := p.readAll(ctx, []Key{r.Key})
			if err != nil {
				return err
			}
			if v, ok := now[r.Key]; ok && v != r.New {
				ch.Resets[i].New = v
				seen = true
			}
		}
	}
	if !seen {
		return nil
	}
	return file.save(before.with(changes))
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
		findings, err = check(have, want)
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

// Restore takes changes back where the value is still the one that was set,
// and puts back what the kernel reset along with them. It
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
		have, err := p.readAll(ctx, undoKeys(changes))
		if err != nil {
			left = changes
			return err
		}
		var back []Change
		var failed []Key
		var errs []error
		back, left = planUndo(have, changes)
		for _, ch := range back {
			made, err := c.undo(ctx, p, ch)
			restored = append(restored, made...)
			if err != nil {
				errs = append(errs, err)
				failed = append(failed, ch.Key)
			}
		}
		left = append(left, touching(changes, failed)...)
		file, err := c.openRecord(p)
		if err == nil {
			err = file.save(file.record.without(changes, failed))
		}
		return errors.Join(append(errs, err)...)
	})
	return restored, left, err
}

// undo brings a key to the value that the change has for it, if it is not
// there, and returns the write.
func (c *Client) undo(ctx context.Context, p proc, ch Change) ([]Change, error) {
	now, err := p.readAll(ctx, []Key{ch.Key})
	if err != nil {
		return nil, err
	}
	value, ok := now[ch.Key]
	if !ok || normal(value) == normal(ch.New) {
		return nil, nil
	}
	ch.Old = value
	if err := c.write(p, ch); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // gone in the meantime
			err = nil
		}
		return nil, err
	}
	return []Change{ch}, nil
}

// do calls fn on a thread in the client's network namespace: what is below
// /proc/sys/net belongs to the thread that looks.
func (c *Client) do(ctx context.Context, op string, fn func(proc) error) error {
	if err := ctx.Err(); err != nil {
		return &OpError{Op: op, Err: err}
	}
	return opError(op, netns.Do(c.config.NetNS, func() error { return fn(proc{root: c.config.Root}) }))
}
