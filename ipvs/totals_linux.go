package ipvs

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
)

// Totals reads the counters of all services together since the network namespace
// was made. Those of services that were removed are in it, and Zero takes nothing
// from it; ZeroAll sets it to zero.
func (c *Client) Totals(ctx context.Context) (Stats, error) {
	s, err := c.totals(ctx)
	if err != nil {
		return Stats{}, &OpError{Op: "read totals", Err: err}
	}
	return s, nil
}

func (c *Client) totals(ctx context.Context) (Stats, error) {
	if err := ctx.Err(); err != nil {
		return Stats{}, err
	}
	if c.isClosed() {
		return Stats{}, net.ErrClosed
	}
	var text []byte
	err := c.ns.do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/ip_vs_stats")
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Stats{}, ErrNoModule
	case errors.Is(err, os.ErrClosed):
		return Stats{}, net.ErrClosed
	case err != nil:
		return Stats{}, err
	}
	return parseTotals(string(text))
}
