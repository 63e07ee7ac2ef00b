package ipvs

import (
	"context"
	"iter"
	"net/netip"
)

// Table is a table of virtual services that forwards connections: *Client, the
// kernel's, is one. A program that takes a Table can be tested without a
// kernel.
//
// Errors match fs.ErrNotExist for a service or destination that is not there,
// fs.ErrExist for one that is there already.
type Table interface {
	// Services reads all services with their destinations.
	Services(ctx context.Context) ([]ServiceStatus, error)
	// Service reads one service with its destinations.
	Service(ctx context.Context, id ServiceID) (ServiceStatus, error)
	// Connections reads the connection table.
	Connections(ctx context.Context) iter.Seq2[Connection, error]

	// Plan is the dry run of Apply: the changes that it would make.
	Plan(ctx context.Context, want []Service, policy Policy) ([]Change, error)
	// Apply makes the table what is wanted by the smallest change, and
	// returns the changes that were made.
	Apply(ctx context.Context, want []Service, policy Policy) ([]Change, error)

	// AddService adds a service with its destinations.
	AddService(ctx context.Context, s Service) error
	// UpdateService changes a service's scheduler, flags and persistence to
	// those of s. Destinations stay as they are; those of s are not looked at.
	UpdateService(ctx context.Context, s Service) error
	// RemoveService removes a service with its destinations.
	RemoveService(ctx context.Context, id ServiceID) error

	// AddDestination adds a real server to a service.
	AddDestination(ctx context.Context, id ServiceID, d Destination) error
	// UpdateDestination changes all but the address of a real server to d.
	UpdateDestination(ctx context.Context, id ServiceID, d Destination) error
	// RemoveDestination removes a real server. Its connections go when their
	// next packet comes (vs.expire_nodest_conn=1) or time out.
	RemoveDestination(ctx context.Context, id ServiceID, addr netip.AddrPort) error

	// Zero sets the counters of one service and its destinations to zero.
	Zero(ctx context.Context, id ServiceID) error
	// ZeroAll sets all counters to zero.
	ZeroAll(ctx context.Context) error
	// Flush removes every service, foreign ones too.
	Flush(ctx context.Context) error

	Timeouts(ctx context.Context) (Timeouts, error)
	SetTimeouts(ctx context.Context, t Timeouts) error
}
