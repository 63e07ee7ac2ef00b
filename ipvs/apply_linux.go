package ipvs

import (
	"context"
	"errors"
	"log/slog"

	"golang.org/x/sys/unix"
)

// maxApplies bounds how often Apply starts over because another program changed
// what it was about to change.
const maxApplies = 5

// Apply makes the table what is wanted: it reads the table, plans, and makes
// the changes, many to a system call. It returns the changes that were made,
// also with an error, which joins one OpError for each change that was refused.
// Where another program changed the table meanwhile it starts over.
//
// Calls of one client follow each other. Two programs that want different
// things of one service are not kept apart by this: let one own it.
func (c *Client) Apply(ctx context.Context, want []Service, policy Policy) ([]Change, error) {
	const op = "apply"
	if err := acquire(ctx, c.applying); err != nil {
		return nil, opError(op, "", err, nil)
	}
	defer func() { <-c.applying }()
	var all []Change
	for n := 1; ; n++ {
		changes, err := c.plan(ctx, op, want, policy)
		if err != nil {
			return all, err
		}
		made, failed, err := c.execute(ctx, changes)
		c.logChanges(ctx, made)
		if all == nil {
			all = made
		} else {
			all = append(all, made...)
		}
		if err != nil {
			return all, errors.Join(failed.roots().err(), err)
		}
		hard, raced := failed.split()
		if raced == 0 || n == maxApplies {
			return all, failed.roots().err()
		}
		c.log.Info("another program changes the table: applying again", "changes", raced, "refused", len(hard))
	}
}

// Plan is the dry run of Apply: what it would change in the table as it is.
func (c *Client) Plan(ctx context.Context, want []Service, policy Policy) ([]Change, error) {
	return c.plan(ctx, "plan", want, policy)
}

func (c *Client) plan(ctx context.Context, op string, want []Service, policy Policy) ([]Change, error) {
	have, err := c.have(ctx, want, policy)
	if err != nil {
		return nil, opError(op, "", err, nil)
	}
	return Plan(have, want, policy)
}

// have reads as much of the table as Plan has to know: the services, and the
// destinations of those that are wanted.
func (c *Client) have(ctx context.Context, want []Service, policy Policy) ([]Service, error) {
	wanted := make(map[ServiceID]struct{}, len(want))
	for i := range want {
		wanted[want[i].ID.normal()] = struct{}{}
	}
	list, err := c.listServices(ctx, withoutStats)
	if err != nil {
		return nil, err
	}
	var scratch []DestinationStatus
	have := make([]Service, 0, len(list))
	for i := range list {
		s := list[i].Service
		if _, ok := wanted[s.ID]; ok {
			if scratch, err = c.listDests(ctx, s.ID, withoutStats, scratch); err != nil {
				return nil, err
			}
			s.Destinations = make([]Destination, len(scratch))
			for i := range scratch {
				s.Destinations[i] = scratch[i].Destination
			}
		} else if policy.Owns == nil || !policy.Owns(s.ID) {
			continue
		}
		have = append(have, s)
	}
	return have, nil
}

// raced tells a change that was refused because another program had been
// faster: the thing was there already, or no more.
func (f failure) raced() bool {
	switch f.errno.errno {
	case unix.ESRCH, unix.EEXIST:
		return true
	case unix.ENOENT:
		return f.errno.cmd.isDestination()
	}
	return false
}

// split tells the failures that would come again from the number of those that
// may not.
func (fs failures) split() (hard failures, raced int) {
	broken := map[ServiceID]bool{}
	for _, f := range fs {
		if !f.raced() {
			hard, broken[f.change.Service.ID] = append(hard, f), true
		}
	}
	for _, f := range fs {
		if f.raced() && !broken[f.change.Service.ID] {
			raced++
		}
	}
	return hard, raced
}

// roots leaves out what failed only because its service could not be added.
func (fs failures) roots() failures {
	missing := map[ServiceID]bool{}
	var roots failures
	for _, f := range fs {
		if f.change.Op == AddService && !f.raced() {
			missing[f.change.Service.ID] = true
		} else if missing[f.change.Service.ID] && f.errno.errno == unix.ESRCH {
			continue
		}
		roots = append(roots, f)
	}
	return roots
}

func (c *Client) logChanges(ctx context.Context, made []Change) {
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	for _, ch := range made {
		c.log.Debug("changed the table", "change", ch.String())
	}
}
