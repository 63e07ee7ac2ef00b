package main

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/lvskit/lvskit/nat"
	"github.com/lvskit/lvskit/sysctl"
)

// remove takes away what another run has left, whatever its backend was.
func remove(ctx context.Context, cfg config, out io.Writer) error {
	release, err := cfg.only()
	if err != nil {
		return err
	}
	defer release()
	settings, err := cfg.client()
	if err != nil {
		return err
	}
	return errors.Join(restore(ctx, settings, out), sweep(ctx, cfg, out))
}

// restore gives back the kernel's settings, also those that a killed run had
// changed.
func restore(ctx context.Context, settings *sysctl.Client, out io.Writer) error {
	changes, errRecord := settings.Recorded(ctx)
	back, _, err := settings.Restore(ctx, changes)
	show(out, back)
	return errors.Join(errRecord, err)
}

// sweep removes the rules of this name from all backends. It goes on after an
// error.
func sweep(ctx context.Context, cfg config, out io.Writer) error {
	var errs []error
	found := false
	for _, backend := range []nat.Backend{nat.NFTables, nat.IPTablesNFT, nat.IPTablesLegacy} {
		table, err := nat.Open(nat.Config{Name: cfg.name, Backend: backend})
		switch {
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrNotExist):
			continue // this machine does not have it
		case errors.Is(err, nat.ErrMixed):
			found = true
			continue // it has none of these rules
		case errors.Is(err, fs.ErrPermission):
			return err // of all backends
		case err != nil:
			errs = append(errs, err)
			continue
		}
		found = true
		rules, err := table.List(ctx)
		if err == nil {
			err = table.Clear(ctx)
		}
		if err == nil {
			for _, r := range rules {
				show(out, []nat.Change{{Op: nat.RemoveRule, Rule: r.Rule}})
			}
		}
		errs = append(errs, err, table.Close())
	}
	if !found && errors.Join(errs...) == nil {
		return errors.New("this machine has neither nftables nor iptables")
	}
	return errors.Join(errs...)
}
