package userspace

import (
	"net/netip"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpBuffer is what is asked for a service's socket in each direction, in
// bytes: some thousand small datagrams. Without CAP_NET_ADMIN the kernel gives
// no more than net.core.rmem_max and wmem_max.
const udpBuffer = 4 << 20

// udpFront are the sockets of a UDP service: one for each worker, or those of a
// predecessor.
type udpFront struct {
	e       *Engine
	service *service
	socks   []*udpSocket
	closed  atomic.Bool
	open    atomic.Int32 // sockets that have not been shut
	joins   bool         // the kernel can divide joined datagrams (Linux 4.18): one that cannot would send them as one
	lost    udpLosses
}

// udpLosses are the datagrams of clients that have not reached a real server.
type udpLosses struct {
	crowded   atomic.Uint64 // of new clients while there were Config.MaxConnections
	unserved  atomic.Uint64 // no destination might take them
	unreached atomic.Uint64 // no socket towards the real server could be had
	unsent    atomic.Uint64 // the kernel did not take them: its buffers were full, or a firewall refused
	reported  atomic.Uint64 // errors that the network reported (ICMP): of these it is not known whether they are lost
}

func (l *udpLosses) add(unsent, reported int) {
	if unsent|reported != 0 {
		l.unsent.Add(uint64(unsent))
		l.reported.Add(uint64(reported))
	}
}

// udpSocket is a socket of a service, in one worker. The kernel gives the
// datagrams of one client always to the same one (SO_REUSEPORT), so that a
// session lives in one worker. The worker's goroutine alone touches it.
type udpSocket struct {
	front    *udpFront
	w        *worker
	fd       int
	sessions map[sessionKey]*udpSession
	watched  bool
	full     bool // takes no new clients
	crowded  bool // Config.MaxConnections was met, and no new client has been taken since
}

// listenUDP opens the sockets of a service. It is called in the network namespace
// of the Engine.
func (ws *workers) listenUDP(s *service) (front, error) {
	f := &udpFront{e: ws.e, service: s}
	inherited := ws.inherited[s.ID]
	delete(ws.inherited, s.ID)
	for i, fd := range inherited {
		f.add(ws.all[i%len(ws.all)], fd)
	}
	for i := len(inherited); i < len(ws.all); i++ {
		fd, err := bindUDP(s.ID.Addr, i > 0 || ws.leavesUDP(s.ID.Addr))
		if err != nil && len(inherited) > 0 {
			break // what there is takes all clients as well
		}
		if err != nil {
			for _, k := range f.socks {
				unix.Close(k.fd)
			}
			return nil, listenError(s.ID.Addr, err)
		}
		f.add(ws.all[i], fd)
	}
	_, err := unix.GetsockoptInt(f.socks[0].fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	f.joins = err == nil
	for _, k := range f.socks {
		k.w.post(k.begin)
	}
	return f, nil
}

// leavesUDP tells whether a front with that address was closed, and a worker may
// be sending by its socket just now: then that has the port for a moment yet.
func (ws *workers) leavesUDP(addr netip.AddrPort) bool {
	f, ok := ws.leaving.Load(addr)
	return ok && f.(*udpFront).open.Load() > 0
}

func (f *udpFront) add(w *worker, fd int) {
	f.open.Add(1)
	f.socks = append(f.socks, &udpSocket{front: f, w: w, fd: fd, sessions: map[sessionKey]*udpSession{}})
}

// bindUDP opens a socket with a service's address. The first of a service must
// find the port free; only then it is shared (SO_REUSEPORT).
func bindUDP(addr netip.AddrPort, shared bool) (int, error) {
	u := upstream{family: unix.AF_INET, typ: unix.SOCK_DGRAM}
	if is6(addr.Addr()) {
		u.family = unix.AF_INET6
	}
	fd, err := unix.Socket(u.family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	u.fd = fd
	if err := u.bindService(addr, shared); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (u upstream) bindService(addr netip.AddrPort, shared bool) error {
	type option struct{ level, name int }
	options := []option{{unix.SOL_IP, unix.IP_FREEBIND}}
	if u.family == unix.AF_INET6 {
		options = []option{{unix.SOL_IPV6, unix.IPV6_FREEBIND}, {unix.SOL_IPV6, unix.IPV6_V6ONLY}}
	}
	if shared {
		options = append(options, option{unix.SOL_SOCKET, unix.SO_REUSEPORT})
	}
	for _, o := range options {
		if errno := u.set(o.level, o.name); errno != 0 {
			return os.NewSyscallError("setsockopt", errno)
		}
	}
	u.set(unix.SOL_UDP, unix.UDP_GRO) // Linux 5.0; else datagrams come one by one
	for _, o := range []struct{ force, name int }{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(u.fd, unix.SOL_SOCKET, o.force, udpBuffer) != nil {
			unix.SetsockoptInt(u.fd, unix.SOL_SOCKET, o.name, udpBuffer)
		}
	}
	var sa unix.RawSockaddrInet6
	size := putSockaddr(&sa, u.family, addr)
	if _, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(u.fd), uintptr(unsafe.Pointer(&sa)), size); errno != 0 {
		return os.NewSyscallError("bind", errno)
	}
	if errno := u.set(unix.SOL_SOCKET, unix.SO_REUSEPORT); errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	return nil
}

// close frees the port at once, and ends the sessions.
func (f *udpFront) close() {
	if f.closed.Swap(true) {
		return
	}
	for _, k := range f.socks {
		k.w.ws.leaving.Store(f.service.ID.Addr, f)
		k.vacate()
		k.w.post(k.shut)
	}
}

// vacate frees the port, at the latest when the worker has sent what it is just
// sending, while the worker may be using the descriptor: it becomes
// one of the worker's epoll, which can neither be sent by nor be watched, so that
// nothing else gets the number before the worker has closed it. A successor may
// have the socket too, so it has to be taken out of the epoll by hand.
func (k *udpSocket) vacate() {
	rawEpollCtl(k.w.epoll, unix.EPOLL_CTL_DEL, k.fd, 0)
	unix.Dup3(k.w.epoll, k.fd, unix.O_CLOEXEC)
}

func (f *udpFront) descriptors() []int {
	fds := make([]int, len(f.socks))
	for i, k := range f.socks {
		fds[i] = k.fd
	}
	return fds
}

// begin makes the socket the worker's.
func (k *udpSocket) begin() {
	if k.w.udp == nil {
		k.w.udp = newUDPWorker()
	}
	if err := k.w.add(k); err != nil && !k.front.closed.Load() {
		k.front.e.log.Error("a listening socket is not watched", "service", k.front.service.ID.String(), "err", err)
	}
}

// shut ends the sessions, and the socket.
func (k *udpSocket) shut() {
	if k.fd < 0 {
		return
	}
	for _, s := range k.sessions {
		s.end()
	}
	k.w.udp.flush()
	k.unwatch()
	k.w.remove(k)
	k.w.drop(k.fd)
	k.fd = -1
	if f := k.front; f.open.Add(-1) == 0 {
		k.w.ws.leaving.CompareAndDelete(f.service.ID.Addr, f)
	}
}

// pause takes no new clients. For the others the socket is read on when Run is
// to end, unless it is a successor that reads it now. Else what comes waits in
// the socket's buffer. Answers go out by it in any case.
func (k *udpSocket) pause() {
	k.full = true
	if !k.w.draining || k.w.succeeded {
		k.unwatch()
	}
}

func (k *udpSocket) unwatch() {
	if k.watched {
		k.w.forget(k.fd)
		k.watched = false
	}
}

// resume takes what comes.
func (k *udpSocket) resume() error {
	k.full = false
	if k.watched {
		return nil
	}
	err := k.w.watch(k.fd, unix.EPOLLIN, k)
	k.watched = err == nil
	return err
}

// ready takes datagrams of clients.
func (k *udpSocket) ready(uint32) {
	u := k.w.udp
	n, errno := u.in.receive(k.fd, 0, batchMost, true)
	if errno != 0 {
		return
	}
	for i := range n {
		if s := k.session(&u.in.names[i], u.in.data(i)); s != nil {
			u.assign(s, i)
		}
	}
	for _, s := range u.assigned {
		s.forward(u)
	}
	u.assigned = u.assigned[:0]
}

// session is that of a client, a new one if there is none. It is nil if the
// datagram is to be dropped.
func (k *udpSocket) session(name *unix.RawSockaddrInet6, data []byte) *udpSession {
	key, ok := keyOf(name)
	if !ok {
		return nil
	}
	if s := k.sessions[key]; s != nil {
		return s
	}
	if !k.room() {
		return nil
	}
	s := &udpSession{sock: k, key: key, name: *name, fd: -1, apart: !k.front.joins}
	s.entry.conn = s
	if s.c = k.admit(s, data); s.c == nil {
		k.front.lost.unserved.Add(1)
		k.w.ws.give()
		return nil
	}
	if !s.c.listed {
		return k.onePacket(s)
	}
	return s.open()
}

// admit is Engine.admit for a session that begins with a datagram.
func (k *udpSocket) admit(s *udpSession, data []byte) *connection {
	e, service := k.front.e, k.front.service
	f := flow{client: s.key.client(), virtual: service.ID.Addr}
	e.mu.Lock()
	defer e.mu.Unlock()
	f.now = e.now()
	if service.Persistence.Engine == engineSIP {
		f.callID = callID(data)
	}
	return service.admit(f, s)
}

// onePacket is the session of a datagram that was scheduled on its own: its
// client has one with each real server that it was sent to, by which answers
// come back. The table does not know them.
func (k *udpSocket) onePacket(s *udpSession) *udpSession {
	s.key.dest = s.c.dest
	if other := k.sessions[s.key]; other != nil {
		k.w.ws.give()
		return other
	}
	return s.open()
}

// room takes room for a session, if there is some.
func (k *udpSocket) room() bool {
	if k.full {
		return false
	}
	lost, log := &k.front.lost.crowded, k.front.e.log
	if !k.w.ws.limits.take() {
		if lost.Add(1); !k.crowded {
			k.crowded = true
			log.Warn("new udp clients are dropped: there are as many connections as there may be", "service", k.front.service.ID.String(), "worker", k.w.index)
		}
		return false
	}
	if k.crowded {
		k.crowded = false
		log.Info("new udp clients are taken again", "service", k.front.service.ID.String(), "worker", k.w.index, "dropped", lost.Load())
	}
	return true
}
