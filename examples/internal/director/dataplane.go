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
	// run forwards until ctx ends.
	run(ctx context.Context) error
	Close() error
}

// openDataplane makes the choice, and says which it was.
func openDataplane(ctx context.Context, o options, out io.Writer) (dataplane, error) {
	why := "-dataplane says so"
	if o.dataplane != Userspace {
		table, err := OpenKernel(ctx)
		switch missing := (*Missing)(nil); {
		case err == nil:
			fmt.Fprintln(out, "dataplane kernel: IPVS")
			return &kernelPlane{Client: table, runDir: o.runDir, out: out}, nil
		case o.dataplane == Kernel || !errors.As(err, &missing):
			return nil, err
		default:
			why = missing.Error()
		}
	}
	engine, err := openEngine(o, why)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "dataplane userspace: %s\n", why)
	return engine, nil
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
