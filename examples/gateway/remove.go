package main

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/lvskit/lvskit/nat"
)

// remove takes away what another run has left, whatever its backend was.
func remove(ctx context.Context, cfg config) error {
	release, err := cfg.only()
	if err != nil {
		return err
	}
	defer release()
	var errs []error
	found := false
	for _, b := range []nat.Backend{nat.NFTables, nat.IPTablesNFT, nat.IPTablesLegacy} {
		cfg.backend = b
		g, err := open(cfg, io.Discard)
		switch {
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrNotExist):
			continue // nothing can be there
		case err == nil:
			err = g.down()
			g.table.Close()
		}
		found = true
		errs = append(errs, err)
	}
	if !found {
		return errors.New("this machine has neither nftables nor iptables")
	}
	return errors.Join(errs...)
}
