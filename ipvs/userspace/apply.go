package userspace

import (
	"context"
	"errors"
	"strconv"

	"github.com/lvskit/lvskit/ipvs"
)

// Plan is the dry run of Apply.
func (e *Engine) Plan(ctx context.Context, want []ipvs.Service, policy ipvs.Policy) ([]ipvs.Change, error) {
	return e.plan(ctx, "plan", want, policy)
}

func (e *Engine) plan(ctx context.Context, op string, want []ipvs.Service, policy ipvs.Policy) ([]ipvs.Change, error) {
	var have []ipvs.Service
	err := e.look(ctx, op, "", func() error {
		have = make([]ipvs.Service, 0, len(e.services))
		for _, s := range e.listed() {
			have = append(have, s.wanted())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ipvs.Plan(have, want, policy)
}

// Apply makes the table what is wanted, and returns the changes that were made,
// also with an error, which joins one OpError for each change that was refused.
// Nobody else changes the table from its reading to the last change, and the
// changes of one service are seen at once. policy.Owns may read the table and
// not change it.
func (e *Engine) Apply(ctx context.Context, want []ipvs.Service, policy ipvs.Policy) (made []ipvs.Change, err error) {
	const op = "apply"
	err = e.exclusively(ctx, op, "", func() error {
		changes, err := e.plan(ctx, op, want, policy)
		if err != nil {
			return err
		}
		made, err = e.execute(ctx, changes)
		return err
	})
	return made, err
}

// execute makes changes in their order, those of a service at once. One that is
// refused does not keep it from those that follow.
func (e *Engine) execute(ctx context.Context, changes []ipvs.Change) (made []ipvs.Change, err error) {
	var errs []error
	for rest := changes; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			object := strconv.Itoa(len(rest)) + " changes"
			return made, errors.Join(append(errs, &ipvs.OpError{Op: "change table", Object: object, Err: err})...)
		}
		n := 1
		for n < len(rest) && rest[n].Service.ID == rest[0].Service.ID {
			n++
		}
		done, refused := e.executeService(rest[:n])
		made, errs, rest = append(made, done...), append(errs, refused...), rest[n:]
	}
	return made, errors.Join(errs...)
}

// executeService makes the changes of one service. What cannot be done because
// the service could not be added is no error of its own.
func (e *Engine) executeService(changes []ipvs.Change) (made []ipvs.Change, errs []error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	missing := false
	for _, c := range changes {
		switch err := e.run(c); {
		case err == nil:
			made = append(made, c)
		case missing && err == errNoService:
		default:
			missing = c.Op == ipvs.AddService
			errs = append(errs, opError(c, err))
		}
	}
	return made, errs
}
