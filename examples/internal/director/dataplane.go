package director

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/lvskit/lvskit/ipvs"
)

// The dataplanes: what forwards the connections.
const (
	Auto      = "auto"      // the kernel where it may be used, the engine elsewhere
	Kernel    = "kernel"    // the kernel's IPVS
	Userspace = "userspace" // this program, by the engine of ipvs/userspace
)

// CheckDataplane finds a name that is none of them.
func CheckDataplane(name string) error {
	switch name {
	case Auto, Kernel, Userspace:
		return nil
	}
	return fmt.Errorf("-dataplane %q: want %s, %s or %s", name, Auto, Kernel, Userspace)
}

// dataplane is the table of virtual services, and what forwards their
// connections.
type dataplane interface {
	ipvs.Table
	// fit adds the kernel's settings that it takes to a configuration, or finds
	// what it cannot do of it.
	fit(cfg config) (config, error)
	// synchronise tells the other director of the connections, and hears of the
	// other's; nil ends it.
	synchronise(ctx context.Context, want *syncFile) error
	// policy says which services of the table are this program's own: those that own
	// and ownOnly were told of.
	policy() ipvs.Policy
	own(services []ipvs.Service) error
	ownOnly(services []ipvs.Service) error

	// hangUp ends the connections that cannot go on without the addresses, while the
	// clients can still be told.
	hangUp(ctx context.Context) error

	// inherited tells whether the table was another director's, which may be there for
	// a while, and succeeded whether it is another one's by now.
	inherited() bool
	succeeded() bool

	// run forwards until ctx ends, or another director does.
	run(ctx context.Context) error
	Close() error
}

// openDataplane makes the choice, and says which it was. By the socket handover, if
// it is not empty, directors in userspace succeed each other.
func openDataplane(ctx context.Context, o options, cfg config, handover string, out io.Writer) (dataplane, error) {
	why := "-dataplane says so"
	if o.dataplane != Userspace {
		table, err := OpenKernel(ctx)
		switch missing := (*Missing)(nil); {
		case err == nil:
			fmt.Fprintln(out, "dataplane kernel: IPVS")
			return newKernelPlane(table, o.runDir, out), nil
		case o.dataplane == Kernel || !errors.As(err, &missing):
			return nil, err
		default:
			why = missing.Error()
		}
	}
	fmt.Fprintf(out, "dataplane userspace: %s\n", why)
	return openEngine(ctx, cfg, handover, why)
}

// Missing is why the kernel's IPVS may not be used: the kernel does not have it,
// or this program has not the rights.
type Missing struct{ Err error }

// Error is the reason alone.
func (m *Missing) Error() string {
	if op := (*ipvs.OpError)(nil); errors.As(m.Err, &op) {
		return op.Err.Error()
	}
	return m.Err.Error()
}

// Unwrap is the error of package ipvs.
func (m *Missing) Unwrap() error { return m.Err }

// OpenKernel opens the kernel's table, and asks it for something: only then it is
// known whether it may be used. The error matches *Missing where it may not.
func OpenKernel(ctx context.Context) (*ipvs.Client, error) {
	table, err := ipvs.Open(ipvs.Config{})
	if err == nil {
		if _, err = table.Info(ctx); err != nil {
			table.Close()
		}
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission):
		return nil, &Missing{err}
	case err != nil:
		return nil, err
	}
	return table, nil
}
