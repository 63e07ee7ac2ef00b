package userspace

import (
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/ipvs"
)

// watched is what a worker is told of a connection's sockets: changes only.
const watched = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// tcpWorker is what a worker has for its TCP connections.
type tcpWorker struct {
	addr    unix.RawSockaddrInet6 // of the client that is taken
	buffer  []byte                // through which all small data goes
	spare   [][]byte              // more of them, for what could not be written
	pipes   []*pipe
	free    []*tcp
	waiting []*tcp // for a descriptor or a port, so that the real server can be called
	ended   []*tcp // in this round: what it has heard is for them yet
}

// sweep makes what has ended in a round free.
func (t *tcpWorker) sweep() {
	for _, ended := range t.ended {
		ended.generation.Add(1)
		if len(t.free) < connsIdle {
			t.free = append(t.free, ended)
		}
	}
	clear(t.ended)
	t.ended = t.ended[:0]
}

// release gives back what is kept for later.
func (t *tcpWorker) release(l *limits) {
	for _, p := range t.pipes {
		p.close(l)
	}
	*t = tcpWorker{free: t.free}
}

const connsIdle = 4096 // structs that a worker keeps

// tcp is a connection: the client's and the one to the real server.
type tcp struct {
	w          *worker
	f          *tcpFront
	c          *connection
	client     side
	server     side
	up, down   half // from the client, to the client
	idle       entry
	opened     bool
	over       bool
	queued     bool // in worker.again
	waits      bool // in tcpWorker.waiting
	watched    bool // the client's socket is in the epoll
	unsent     int  // bytes that no peer had taken when nothing was forwarded for long; 0: then it was not so
	generation atomic.Uint64
}

// side is one of the two sockets.
type side struct {
	t        *tcp
	fd       int
	readable bool // it has not said EAGAIN since it was ready
	writable bool
	finished bool // its peer has, or may have, sent FIN
	broken   bool // it takes nothing any more; it may still have something to say
}

func (w *worker) newTCP() *tcp {
	if last := len(w.tcp.free) - 1; last >= 0 {
		t := w.tcp.free[last]
		w.tcp.free[last] = nil
		w.tcp.free = w.tcp.free[:last]
		return t
	}
	t := &tcp{w: w}
	t.client.t, t.server.t = t, t
	t.idle.conn = t
	t.up.from, t.up.to = &t.client, &t.server
	t.down.from, t.down.to = &t.server, &t.client
	return t
}

// accepted begins with a connection that has come in. limits.take was called.
func (w *worker) accepted(f *tcpFront, fd int, client netip.AddrPort) {
	t := w.newTCP()
	t.f = f
	t.opened, t.over, t.queued, t.waits, t.watched = false, false, false, false, false
	t.unsent = 0
	t.client.reset(fd)
	t.server.reset(-1)
	t.up.reset()
	t.down.reset()
	t.c = w.e.admit(f.s, client, t)
	if t.c == nil || f.closed.Load() {
		t.end(true)
		return
	}
	w.touch(&t.idle, queueOpening)
	t.dial()
}

func (s *side) reset(fd int) { *s = side{t: s.t, fd: fd} }

// dial begins the connection to the real server.
func (t *tcp) dial() {
	w := t.w
	fd, connected, err := w.dial(t.c, unix.SOCK_STREAM)
	if err == nil {
		err = w.watch(fd, watched, &t.server)
		if err == nil {
			err = t.watchClient()
		}
		if err != nil {
			w.drop(fd)
		}
	}
	if err != nil {
		t.undialled(err)
		return
	}
	t.server.fd = fd
	if header := t.c.header(t.local(), unix.SOCK_STREAM); header != nil {
		t.up.prepend(header)
	}
	if connected {
		t.open()
	}
}

// watchClient watches the client, once.
func (t *tcp) watchClient() error {
	if t.watched {
		return nil
	}
	err := t.w.watch(t.client.fd, watched, &t.client)
	t.watched = err == nil
	return err
}

// undialled is called when no connection to the real server could be begun: the
// client waits if that may change soon.
func (t *tcp) undialled(err error) {
	w := t.w
	scarce, all := scarceError(err)
	if !scarce {
		w.e.log.Debug("a connection cannot be made", "service", t.f.id, "backend", t.c.dest.Addr, "err", err)
		t.end(true)
		return
	}
	t.waits = true
	w.tcp.waiting = append(w.tcp.waiting, t)
	if all {
		w.starve(err)
	}
}

// retry calls the real servers of those that wait.
func (t *tcpWorker) retry() {
	waiting := t.waiting
	t.waiting = nil
	for i, c := range waiting {
		if c.w.scarce {
			t.waiting = append(t.waiting, waiting[i:]...)
			return
		}
		c.waits = false
		if c.over {
			c.retire()
			continue
		}
		c.dial()
	}
}

// local is the address that the client called.
func (t *tcp) local() netip.AddrPort {
	if addr := t.f.id.Addr; !addr.Addr().IsUnspecified() {
		return addr
	}
	return rawLocal(t.client.fd)
}

// ready is called when something has changed at a socket.
func (s *side) ready(events uint32) {
	t := s.t
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.readable, s.finished = true, true
	}
	if events&unix.EPOLLIN != 0 {
		s.readable = true
	}
	if events&unix.EPOLLOUT != 0 {
		s.writable = true
	}
	switch {
	case t.opened:
		t.step(s, events)
	case s == &t.client:
		if events&unix.EPOLLERR != 0 && rawPending(s.fd) != 0 {
			t.end(true)
		}
	case events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		t.answered()
	case events&unix.EPOLLOUT != 0:
		t.open()
	}
}

// answered is called when the real server has not taken the connection, or has
// ended it at once.
func (t *tcp) answered() {
	if rawPending(t.server.fd) != 0 {
		t.end(true)
		return
	}
	t.open()
}

// open begins to forward.
func (t *tcp) open() {
	t.opened = true
	t.w.e.become(t.c, ipvs.StateEstablished)
	t.w.touch(&t.idle, queueEstablished)
	t.forward()
}

// step forwards what a change at one side allows.
func (t *tcp) step(s *side, events uint32) {
	if h := t.reads(s); events&unix.EPOLLERR != 0 && (h.shut || h.pending()) && rawPending(s.fd) != 0 {
		t.end(true) // a reset waits neither for who is slow, nor until something is to be sent
		return
	}
	t.unsent = 0
	t.w.touch(&t.idle, t.idle.queue)
	t.forward()
}

// reads is the direction from a side.
func (t *tcp) reads(s *side) *half {
	if s == &t.client {
		return &t.up
	}
	return &t.down
}

// again forwards what was left for fairness.
func (t *tcp) again() {
	t.queued = false
	if t.over {
		t.retire()
		return
	}
	t.forward()
}

// forward moves what can be moved, in both directions.
func (t *tcp) forward() {
	if t.pump(&t.up) {
		t.pump(&t.down)
	}
}

// half closes: one side has sent all that it has.
func (t *tcp) halfClose(h *half) bool {
	h.shut = true
	if t.up.shut && t.down.shut {
		t.end(h.from.broken || h.to.broken)
		return false
	}
	rawShutdown(h.to.fd, unix.SHUT_WR)
	t.w.e.become(t.c, ipvs.StateFinWait)
	t.w.touch(&t.idle, queueFin)
	return true
}

// end closes both sockets: with a reset, or as what was sent last allows.
func (t *tcp) end(reset bool) {
	w := t.w
	t.over = true
	for _, s := range [...]*side{&t.client, &t.server} {
		if s.fd < 0 {
			continue
		}
		if reset {
			rawAbort(s.fd)
		}
		w.drop(s.fd)
		s.fd = -1
	}
	t.up.drop(w)
	t.down.drop(w)
	w.untouch(&t.idle)
	if t.c != nil {
		w.e.leave(t.c)
		t.c = nil
	}
	w.ws.give()
	if !t.queued && !t.waits {
		t.retire()
	}
}

// retire lets the struct be used again, when the round is over and no list has
// it any more.
func (t *tcp) retire() { t.w.tcp.ended = append(t.w.tcp.ended, t) }

// expire ends a connection that is idle.
func (t *tcp) expire() { t.end(true) }

// drains is drainer's. A slow client may take longer for what its socket was
// given than a connection may be idle: the kernel's IPVS sees it by the packets,
// and here nothing else tells.
func (t *tcp) drains() bool {
	if !t.opened {
		return false
	}
	before := t.unsent
	t.unsent = rawUnsent(t.client.fd) + rawUnsent(t.server.fd)
	return t.unsent > 0 && t.unsent != before
}

// cut ends a connection whose destination was removed.
func (t *tcp) cut() {
	generation := t.generation.Load()
	t.w.post(func() {
		if t.generation.Load() == generation && !t.over {
			t.end(true)
		}
	})
}
