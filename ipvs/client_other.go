//go:build !linux

package ipvs

import (
	"context"
	"errors"
	"iter"
	"net/netip"
)

// Client is the table of virtual services in the kernel. Only Linux has one.
type Client struct{}

func unsupportedSystem(op string) error { return &OpError{Op: op, Err: errors.ErrUnsupported} }

// Open answers errors.ErrUnsupported.
func Open(Config) (*Client, error) { return nil, unsupportedSystem("open") }

// Close does nothing.
func (*Client) Close() error { return nil }

// Services answers errors.ErrUnsupported.
func (*Client) Services(context.Context) ([]ServiceStatus, error) {
	return nil, unsupportedSystem("read services")
}

// Service answers errors.ErrUnsupported.
func (*Client) Service(context.Context, ServiceID) (ServiceStatus, error) {
	return ServiceStatus{}, unsupportedSystem("read service")
}

// Connections answers errors.ErrUnsupported.
func (*Client) Connections(context.Context) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		yield(Connection{}, unsupportedSystem("read connections"))
	}
}

// Apply answers errors.ErrUnsupported.
func (*Client) Apply(context.Context, []Service, Policy) ([]Change, error) {
	return nil, unsupportedSystem("apply")
}

// AddService answers errors.ErrUnsupported.
func (*Client) AddService(context.Context, Service) error { return unsupportedSystem("add service") }

// UpdateService answers errors.ErrUnsupported.
func (*Client) UpdateService(context.Context, Service) error {
	return unsupportedSystem("update service")
}

// RemoveService answers errors.ErrUnsupported.
func (*Client) RemoveService(context.Context, ServiceID) error {
	return unsupportedSystem("remove service")
}

// AddDestination answers errors.ErrUnsupported.
func (*Client) AddDestination(context.Context, ServiceID, Destination) error {
	return unsupportedSystem("add destination")
}

// UpdateDestination answers errors.ErrUnsupported.
func (*Client) UpdateDestination(context.Context, ServiceID, Destination) error {
	return unsupportedSystem("update destination")
}

// RemoveDestination answers errors.ErrUnsupported.
func (*Client) RemoveDestination(context.Context, ServiceID, netip.AddrPort) error {
	return unsupportedSystem("remove destination")
}

// Zero answers errors.ErrUnsupported.
func (*Client) Zero(context.Context, ServiceID) error { return unsupportedSystem("zero") }

// ZeroAll answers errors.ErrUnsupported.
func (*Client) ZeroAll(context.Context) error { return unsupportedSystem("zero all") }

// Flush answers errors.ErrUnsupported.
func (*Client) Flush(context.Context) error { return unsupportedSystem("flush") }

// Timeouts answers errors.ErrUnsupported.
func (*Client) Timeouts(context.Context) (Timeouts, error) {
	return Timeouts{}, unsupportedSystem("read timeouts")
}

// SetTimeouts answers errors.ErrUnsupported.
func (*Client) SetTimeouts(context.Context, Timeouts) error {
	return unsupportedSystem("set timeouts")
}

// Totals answers errors.ErrUnsupported.
func (*Client) Totals(context.Context) (Stats, error) {
	return Stats{}, unsupportedSystem("read totals")
}

// Info answers errors.ErrUnsupported.
func (*Client) Info(context.Context) (Info, error) { return Info{}, unsupportedSystem("read info") }

// StartDaemon answers errors.ErrUnsupported.
func (*Client) StartDaemon(context.Context, Daemon) error {
	return unsupportedSystem("start sync daemon")
}

// StopDaemon answers errors.ErrUnsupported.
func (*Client) StopDaemon(context.Context, DaemonState) error {
	return unsupportedSystem("stop sync daemon")
}

// Daemons answers errors.ErrUnsupported.
func (*Client) Daemons(context.Context) ([]Daemon, error) {
	return nil, unsupportedSystem("read sync daemons")
}

// Plan answers errors.ErrUnsupported.
func (*Client) Plan(context.Context, []Service, Policy) ([]Change, error) {
	return nil, unsupportedSystem("plan")
}
