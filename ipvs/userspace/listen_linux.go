package userspace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/ipvs"
)

// acceptsMost is how many connections a listener takes in a round.
const acceptsMost = 64

// tcpFront is the listening sockets of a service, one for each worker.
type tcpFront struct {
	s         *service
	id        ipvs.ServiceID
	listeners []*listener
	shared    atomic.Bool // with a successor
	closed    atomic.Bool
}

// listener is one worker's listening socket.
type listener struct {
	w      *worker
	f      *tcpFront
	fd     int
	more   bool // there may be connections to take
	queued bool
}

func (ws *workers) listenTCP(s *service) (front, error) {
	f := &tcpFront{s: s, id: s.ID}
	fds, err := ws.listeningSockets(s)
	if err != nil {
		return nil, err
	}
	for i, fd := range fds {
		l := &listener{w: ws.all[i%len(ws.all)], f: f, fd: fd}
		f.listeners = append(f.listeners, l)
	}
	for _, l := range f.listeners {
		l.w.post(func() {
			if err := l.w.add(l); err != nil {
				ws.e.log.Error("a listening socket is not watched", "service", s.ID, "err", err)
			}
		})
	}
	return f, nil
}

// listeningSockets are those of a predecessor and as many more as there are
// workers.
func (ws *workers) listeningSockets(s *service) (fds []int, err error) {
	fds = ws.inherited[s.ID]
	delete(ws.inherited, s.ID)
	if len(fds) >= len(ws.all) {
		return fds, nil
	}
	heir := len(fds) > 0
	for len(fds) < len(ws.all) {
		fd, err := listenOne(s.ID.Addr, ws.e.cfg.Backlog, len(fds) > 0)
		if err != nil && heir {
			break // one socket takes all clients as well
		}
		if err != nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// listenOne opens a listening socket; further ones of the same address join it.
// The first one does not join that of another Engine or program, as it is bound
// before it allows others.
func listenOne(addr netip.AddrPort, backlog int, further bool) (fd int, err error) {
	family := unix.AF_INET
	if is6(addr.Addr()) {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := bindListen(fd, family, addr, backlog, further); err != nil {
		unix.Close(fd)
		return -1, listenError(addr, err)
	}
	return fd, nil
}

func bindListen(fd, family int, addr netip.AddrPort, backlog int, further bool) error {
	type option struct{ level, name int }
	options := []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.IPPROTO_TCP, unix.TCP_NODELAY}} // the connections inherit it
	if family == unix.AF_INET6 {
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, option{unix.IPPROTO_IPV6, unix.IPV6_FREEBIND})
	} else {
		options = append(options, option{unix.IPPROTO_IP, unix.IP_FREEBIND})
	}
	if further {
		options = append(options, option{unix.SOL_SOCKET, unix.SO_REUSEPORT})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	var sa unix.RawSockaddrInet6
	size := putSockaddr(&sa, family, addr)
	if _, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa)), size); errno != 0 {
		return os.NewSyscallError("bind", errno)
	}
	if !further {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if backlog == 0 {
		backlog = math.MaxInt32 // the kernel makes it net.core.somaxconn
	}
	return os.NewSyscallError("listen", unix.Listen(fd, backlog))
}

// listenError says what to do.
func listenError(addr netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("listen at %s: %w: another program or Engine has the port: stop it, or choose another", addr, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("listen at %s: %w: grant CAP_NET_BIND_SERVICE, lower net.ipv4.ip_unprivileged_port_start, or choose a port above", addr, err)
	}
	return fmt.Errorf("listen at %s: %w", addr, err)
}

func (f *tcpFront) descriptors() []int {
	f.shared.Store(true)
	fds := make([]int, len(f.listeners))
	for i, l := range f.listeners {
		fds[i] = l.fd
	}
	return fds
}

// close ends listening at once, unless a successor does it too, and has the
// workers close the sockets.
func (f *tcpFront) close() {
	if f.closed.Swap(true) {
		return
	}
	for _, l := range f.listeners {
		if !f.shared.Load() {
			unix.Shutdown(l.fd, unix.SHUT_RDWR)
		}
		l.w.post(l.shut)
	}
}

func (l *listener) shut() {
	if l.fd < 0 {
		return
	}
	l.w.remove(l)
	l.w.drop(l.fd)
	l.fd, l.more = -1, false
}

func (l *listener) pause() {
	l.w.forget(l.fd)
	l.more = false
}

func (l *listener) resume() error {
	return l.w.watch(l.fd, unix.EPOLLIN|unix.EPOLLET, l)
}

func (l *listener) ready(uint32) {
	l.more = true
	l.take()
}

func (l *listener) again() {
	l.queued = false
	l.take()
}

// take takes a batch of connections.
func (l *listener) take() {
	w := l.w
	for range acceptsMost {
		if !l.more || !w.room() {
			return
		}
		size := uint32(unix.SizeofSockaddrInet6)
		fd, errno := rawAccept(l.fd, &w.tcp.addr, &size)
		switch errno {
		case 0:
			w.accepted(l.f, fd, sockaddr(&w.tcp.addr))
			continue
		case unix.EAGAIN, unix.EINVAL, unix.EBADF, unix.ENOTSOCK, unix.EOPNOTSUPP: // EINVAL: it is closed
			l.more = false
		case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS:
			w.starve(os.NewSyscallError("accept4", errno))
		default: // of the connection, which has ended (accept(2))
		}
		w.ws.give()
	}
	if l.more && !l.queued {
		l.queued = true
		w.later(l)
	}
}

// sockaddr reads an address as the kernel writes it.
func sockaddr(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	if sa.Family == unix.AF_INET6 {
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), port)
}
