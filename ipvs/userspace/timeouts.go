package userspace

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// defaultTimeouts are the kernel's (ip_vs_proto_tcp.c, ip_vs_proto_udp.c).
var defaultTimeouts = ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}

// maxIdle is what ipvs.Client takes: INT_MAX/HZ seconds, with the highest HZ.
const maxIdle = 1<<31/1000*time.Second - time.Second

// Timeouts reads the idle times after which connections end. That of TCPFin goes
// for all TCP connections that are not established on both sides.
func (e *Engine) Timeouts(ctx context.Context) (t ipvs.Timeouts, err error) {
	err = e.look(ctx, "read timeouts", "", func() error {
		t = e.timeouts
		return nil
	})
	return t, err
}

// SetTimeouts sets the timeouts that are not zero: 1 s to 2147482 s, in whole
// seconds. They hold for all connections.
func (e *Engine) SetTimeouts(ctx context.Context, t ipvs.Timeouts) error {
	const op = "set timeouts"
	for _, d := range []time.Duration{t.TCP, t.TCPFin, t.UDP} {
		if d < 0 || d > maxIdle || d%time.Second != 0 {
			text := fmt.Sprintf("timeout %v is not within 1s to %v in whole seconds", d, maxIdle)
			return &ipvs.OpError{Op: op, Err: &reason{text, fs.ErrInvalid}}
		}
	}
	return e.look(ctx, op, "", func() error {
		for _, v := range []struct{ have, want *time.Duration }{
			{&e.timeouts.TCP, &t.TCP}, {&e.timeouts.TCPFin, &t.TCPFin}, {&e.timeouts.UDP, &t.UDP},
		} {
			if *v.want != 0 {
				*v.have = *v.want
			}
		}
		return nil
	})
}

// idle is how long a connection in a state may be idle.
func idle(t ipvs.Timeouts, s ipvs.ConnectionState) time.Duration {
	switch s {
	case ipvs.StateEstablished:
		return t.TCP
	case ipvs.StateUDP:
		return t.UDP
	}
	return t.TCPFin
}
