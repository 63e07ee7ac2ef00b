package userspace

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	descriptorsKept  = 128 // for the listening sockets and the rest of the program
	descriptorsATCP  = 2   // a connection's
	descriptorsAPipe = 2
)

// limits bound what all workers together hold.
type limits struct {
	most      int64 // connections
	mostPipes int64
	conns     atomic.Int64
	pipes     atomic.Int64
	waiting   atomic.Int32 // workers that wait for room
}

// init takes the bounds from the configuration and the limit of descriptors: a
// tenth of them is for pipes.
func (l *limits) init(most int) {
	limit := unix.Rlimit{Cur: 1024}
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	files := int64(min(limit.Cur, 1<<30))
	free := max(files-descriptorsKept, files/2)
	l.mostPipes = max(free/10/descriptorsAPipe, 1)
	l.most = int64(most)
	if most == 0 {
		l.most = max((free-free/10)/descriptorsATCP, 1)
	}
}

// take is false if there is no room for one more connection.
func (l *limits) take() bool {
	if l.conns.Add(1) > l.most {
		l.conns.Add(-1)
		return false
	}
	return true
}

// give ends a connection.
func (ws *workers) give() {
	ws.limits.conns.Add(-1)
}

// scarce tells whether an error is for want of something that comes back when
// connections end.
func scarce(err error) bool {
	for _, errno := range [...]unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EADDRNOTAVAIL, unix.EAGAIN} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
