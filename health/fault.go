package health

import (
	"context"
	"errors"
	"io/fs"
	"net"
)

// fault marks an error that is this machine's own with ErrInconclusive, and leaves
// what the server or the network between has answered. It removes the layers of package
// net, which repeat what an OpError says.
//
// Own faults are: a cancelled probe; no descriptors, memory, buffers or ports; an
// address that is not here; what this machine's rules forbid (EPERM); all that happens
// before a connection is tried; what this system lacks; what the caller got wrong. A
// deadline is a failure, as are a network or a host that cannot be reached: whoever is
// at fault, nothing can be sent there.
func fault(err error) error {
	if err == nil || errors.Is(err, ErrInconclusive) {
		return err
	}
	own := errors.Is(err, context.Canceled) || errors.Is(err, errors.ErrUnsupported) ||
		errors.Is(err, fs.ErrInvalid) || ownErrno(err)
	var op *net.OpError
	if errors.As(err, &op) && op == err {
		err = op.Err
	}
	if own {
		return inconclusive(err)
	}
	return err
}
