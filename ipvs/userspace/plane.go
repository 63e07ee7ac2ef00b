package userspace

import "context"

// plane forwards: it has the sockets and the threads.
type plane interface {
	// listen opens the sockets of a service. They take nothing before run.
	listen(s *service) (front, error)
	// run forwards until the end of ctx, drains, and joins its threads. It may
	// be called again then.
	run(ctx context.Context) error
	// pause stops taking what is new, on all fronts, for good. What has begun goes
	// on.
	pause()
	// close ends run, without draining, waits for it and closes all sockets. It
	// is called without the Engine's mutex.
	close() error
}

// front are the sockets of one service.
type front interface {
	// close closes them: their address is free when it returns. It may be
	// called with the Engine's mutex held.
	close()
	// descriptors are the sockets, for a successor: from then on they may be
	// shared with it, and close takes care to leave those of the successor as
	// they are.
	descriptors() []int
}

// owner has the sockets of a connection.
type owner interface {
	// cut ends the connection: a reset to both sides. It does not block, and is
	// called with the Engine's mutex held, for a connection that has not left;
	// the owner calls Engine.leave later.
	cut()
}
