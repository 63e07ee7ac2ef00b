package userspace

import (
	"errors"
	"sync/atomic"
	"time"

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
	starved   atomic.Bool  // some worker waits until a connection has ended
	full      atomic.Bool  // the log says that nothing new is taken
	fullAt    atomic.Int64 // when that was last so, in nanoseconds since the epoch
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

// take is false if there is no room for one more connection. Of the
// connections of all workers it lets in the last.
func (l *limits) take() bool {
	if l.conns.Add(1) <= l.most {
		return true
	}
	l.conns.Add(-1)
	return false
}

// give ends a connection, whose descriptors are closed, or will be at the end of
// the round.
func (ws *workers) give() {
	ws.limits.conns.Add(-1)
}

// room is limits.take for TCP: a worker without room is told when there is some.
func (w *worker) room() bool {
	l := &w.ws.limits
	if w.scarce {
		return false
	}
	if l.take() {
		return true
	}
	w.starve(errFull)
	if l.take() { // it may have come before starve
		w.scarce = false
		return true
	}
	return false
}

var errFull = errors.New("there are as many connections as there may be (Config.MaxConnections, or the limit of descriptors)")

// starve has the worker take nothing new until a connection has ended, or the
// next tick.
func (w *worker) starve(err error) {
	l := &w.ws.limits
	w.scarce = true
	l.starved.Store(true)
	l.fullAt.Store(int64(w.now))
	if !l.full.Swap(true) {
		w.e.log.Warn("no new connections are taken for now", "err", err)
	}
}

// fullFor is how long there must have been room before the log says so.
const fullFor = 3 * time.Second

// feed goes on with what had no room.
func (w *worker) feed() {
	l := &w.ws.limits
	if l.full.Load() && !w.scarce && w.now-time.Duration(l.fullAt.Load()) > fullFor && l.full.Swap(false) {
		w.e.log.Info("new connections are taken again")
	}
	if !w.scarce && len(w.tcp.waiting) == 0 {
		return
	}
	w.scarce = false
	w.tcp.retry()
	for _, i := range w.intakes {
		if l, ok := i.(*listener); ok && l.more && !w.scarce {
			l.take()
		}
	}
}

// freed tells the workers that wait for room that there is some.
func (ws *workers) freed() {
	if ws.limits.starved.Load() && ws.limits.starved.Swap(false) {
		ws.each((*worker).feed)
	}
}

// scarceError tells whether an error is for want of something that comes back:
// descriptors, memory, ports. All is whether it is not that of one real server
// alone.
func scarceError(err error) (scarce, all bool) {
	for _, errno := range [...]unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ENOSPC} {
		if errors.Is(err, errno) {
			return true, true
		}
	}
	return errors.Is(err, unix.EADDRNOTAVAIL), false
}
