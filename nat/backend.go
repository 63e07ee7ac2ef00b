package nat

import (
	"context"
	"errors"
)

// A backend has the rules in the kernel. Its methods are called one at a time.
type backend interface {
	// kind is what it is: not Auto, not IPTables.
	kind() Backend
	// read reads what is there.
	read(ctx context.Context) (*state, error)
	// current is read, or what was read or written last if nobody has changed
	// anything since.
	current(ctx context.Context) (*state, error)
	// write makes the changes to what was read, all of them or none. Rules that are
	// tried in order are put where want has them, behind all others where want is nil.
	// A state that is not there or not sound is written from the beginning:
	// then want is not nil.
	write(ctx context.Context, have *state, changes []Change, want []Rule) error
	// clear removes all that is ours, be it sound or not.
	clear(ctx context.Context) error
	// watch calls tell once it listens, and then whenever something of ours may have
	// changed, until the context ends. Where the kernel does not tell, it returns
	// errors.ErrUnsupported.
	watch(ctx context.Context, tell func()) error
	// forget removes the stale flows from conntrack and tells how many they were.
	forget(ctx context.Context, s *stale) (int, error)
	close() error
}

// errChanged is what write and clear return that did nothing, because others have
// written since it was read. One reads again then.
var errChanged = errors.New("others change the rules all the time: try again later")
