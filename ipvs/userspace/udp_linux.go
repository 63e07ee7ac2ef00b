package userspace

import (
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
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

// udpSocket is a socket of a service, in one worker. The kernel gives the
// datagrams of one client always to the same one (SO_REUSEPORT), so that a
// session lives in one worker. The worker's goroutine alone touches it.
type udpSocket struct {
	front    *udpFront
	w        *worker
	fd       int
	sessions map[sessionKey]*udpSession
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
		fd, err := bindUDP(s.ID.Addr, i > 0)
		if err != nil && len(inherited) > 0 {
			break // what there is takes all clients as well
		}
		if err != nil {
			for _, k := range f.socks {
				unix.Close(k.fd)
			}
			return nil, fmt.Errorf("listen at %s: %w", s.ID.Addr, err)
		}
		f.add(ws.all[i], fd)
	}
	for _, k := range f.socks {
		k.w.post(k.begin)
	}
	return f, nil
}

func (f *udpFront) add(w *worker, fd int) {
	f.socks = append(f.socks, &udpSocket{front: f, w: w, fd: fd, sessions: map[sessionKey]*udpSession{}})
}

// bindUDP opens a socket with a service's address. The first of a service must
// find the port free; only then it is shared (SO_REUSEPORT).
func bindUDP(addr netip.AddrPort, shared bool) (fd int, err error) {
	family, level, freebind := unix.AF_INET, unix.SOL_IP, unix.IP_FREEBIND
	if is6(addr.Addr()) {
		family, level, freebind = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_FREEBIND
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	options := []struct{ level, option int }{{level, freebind}, {unix.SOL_UDP, unix.UDP_GRO}}
	if family == unix.AF_INET6 {
		options = append(options, struct{ level, option int }{unix.SOL_IPV6, unix.IPV6_V6ONLY})
	}
	if shared {
		options = append(options, struct{ level, option int }{unix.SOL_SOCKET, unix.SO_REUSEPORT})
	}
	for _, o := range options {
		// Joining datagrams (Linux 5.0) is for speed alone.
		if err := unix.SetsockoptInt(fd, o.level, o.option, 1); err != nil && o.option != unix.UDP_GRO {
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	for _, o := range []struct{ force, option int }{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.force, udpBuffer) != nil {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.option, udpBuffer)
		}
	}
	if err := bindFree(fd, family, addr); err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return -1, os.NewSyscallError("setsockopt", err)
	}
	return fd, nil
}

// bindFree binds a socket. It tries for a moment: a socket that a worker is
// just sending by when its service is removed has its port until it has sent.
func bindFree(fd, family int, addr netip.AddrPort) error {
	var sa unix.RawSockaddrInet6
	size := putSockaddr(&sa, family, addr)
	for wait := time.Millisecond; ; wait *= 2 {
		_, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa)), size)
		switch {
		case errno == 0:
			return nil
		case errno == unix.EADDRINUSE && wait < 20*time.Millisecond:
			time.Sleep(wait)
		case errno == unix.EADDRINUSE:
			return fmt.Errorf("another program has the port (see ss -ulpn): %w", os.NewSyscallError("bind", errno))
		default:
			return os.NewSyscallError("bind", errno)
		}
	}
}

// close frees the port at once, and ends the sessions.
func (f *udpFront) close() {
	if f.closed.Swap(true) {
		return
	}
	for _, k := range f.socks {
		k.vacate()
		k.w.post(k.shut)
	}
}

// vacate frees the port while the worker may be using the descriptor: it becomes
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
	k.w.remove(k)
	k.w.drop(k.fd)
	k.fd = -1
}

// pause leaves what comes in the socket's buffer: answers go out by it still.
func (k *udpSocket) pause() {
	if k.fd < len(k.w.handlers) {
		k.w.forget(k.fd)
	}
}

// resume takes what comes.
func (k *udpSocket) resume() error { return k.w.watch(k.fd, unix.EPOLLIN, k) }

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
	s := &udpSession{sock: k, key: key, name: *name, fd: -1}
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
