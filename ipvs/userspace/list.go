package userspace

import (
	"context"
	"slices"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// list yields the connection table: service by service the templates and the
// connections, the newest first, then what is left of destinations that were
// removed. Of each it takes a copy, with mu held no longer than that.
func (e *Engine) list(ctx context.Context, yield func(ipvs.Connection, error) bool) {
	const op = "read connections"
	var (
		services []*service
		chunk    []ipvs.Connection
	)
	// each has some connections read, and yields them.
	each := func(read func()) bool {
		chunk = chunk[:0]
		if err := e.look(ctx, op, "", func() error { read(); return nil }); err != nil {
			yield(ipvs.Connection{}, err)
			return false
		}
		for _, c := range chunk {
			if err := ctx.Err(); err != nil {
				yield(ipvs.Connection{}, &ipvs.OpError{Op: op, Err: err})
				return false
			}
			if !yield(c, nil) {
				return false
			}
		}
		return true
	}
	var dests []*destination
	left := map[*destination]bool{} // unless it comes back before its service is read
	if !each(func() {
		services = e.listed()
		for _, d := range e.trash {
			if d.conns.n > 0 {
				left[d] = true
			}
		}
	}) {
		return
	}
	for _, s := range services {
		if !each(func() {
			dests = slices.Clone(s.dests)
			chunk = s.templates.list(chunk, s, e.now())
		}) {
			return
		}
		for _, d := range dests {
			delete(left, d)
			if !each(func() { chunk = d.list(chunk, e.timeouts, e.now()) }) {
				return
			}
		}
	}
	for d := range left {
		if !each(func() { chunk = d.list(chunk, e.timeouts, e.now()) }) {
			return
		}
	}
}

// list appends the connections of a destination.
func (d *destination) list(to []ipvs.Connection, timeouts ipvs.Timeouts, now time.Duration) []ipvs.Connection {
	to = slices.Grow(to, d.conns.n)
	for c := d.conns.head; c != nil; c = c.next {
		to = append(to, ipvs.Connection{
			Protocol: c.protocol(), Client: c.client, Virtual: c.service.ID.Addr, Destination: d.Addr,
			State: c.state, Expires: expires(idle(timeouts, c.state), now-time.Duration(c.last.Load())),
			Origin: ipvs.OriginLocal,
		})
	}
	return to
}

// list appends the templates of a service.
func (ts *templates) list(to []ipvs.Connection, s *service, now time.Duration) []ipvs.Connection {
	ts.expire(now)
	for _, t := range ts.byKey {
		to = append(to, t.listing(s, now))
	}
	return to
}

// expires is what is left of a timeout, in whole seconds.
func expires(timeout, since time.Duration) time.Duration {
	return max(timeout-max(since, 0), 0).Truncate(time.Second)
}
