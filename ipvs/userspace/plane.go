package userspace

import "context"

// plane forwards: it has the sockets and the threads.
type plane interface {
	// listen opens the sockets of a service. They take nothing before run.
	listen(s *service) (front, error)
	// run forwards until the end of ctx, drains, and joins its threads.
	run(ctx context.Context) error
	// close closes all sockets.
	close() error
}

// front are the sockets of one service.
type front interface{ close() }

// owner has the sockets of a connection.
type owner interface {
	// cut ends the connection: a reset to both sides. It does not block, and
	// may be called with the Engine's mutex held and from any goroutine; the
	// owner calls Engine.leave later.
	cut()
}
