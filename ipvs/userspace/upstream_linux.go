package userspace

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dial begins the connection to the real server of c, of the type
// unix.SOCK_STREAM or SOCK_DGRAM, from the address that the Source of its
// service says. The socket does not block; connected is false while the real
// server has not answered, which UDP never does. It is for the worker's
// goroutine, whose thread is in the network namespace. An error is a
// *dialError.
//
// The calls are raw, as none of them waits: Go's scheduler need not know of
// them. Nothing is allocated.
func (w *worker) dial(c *connection, typ int) (fd int, connected bool, err error) {
	to := c.dest.Addr
	family := unix.AF_INET
	if is6(to.Addr()) {
		family = unix.AF_INET6
	}
	n, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), uintptr(typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), 0)
	if errno != 0 {
		return -1, false, &dialError{step: "socket", to: to, errno: errno}
	}
	fd = int(n)
	connected, step, errno := upstream{fd: fd, family: family, typ: typ}.connect(c)
	if errno != 0 {
		unix.RawSyscall(unix.SYS_CLOSE, n, 0, 0)
		e := &dialError{step: step, to: to, errno: errno}
		if c.service.source == SourceTransparent {
			e.from = c.client
		}
		return -1, false, e
	}
	return fd, connected, nil
}

// upstream is a socket towards a real server.
type upstream struct {
	fd, family, typ int
}

func (u upstream) connect(c *connection) (connected bool, step string, errno unix.Errno) {
	if u.typ == unix.SOCK_STREAM {
		if errno := u.set(unix.IPPROTO_TCP, unix.TCP_NODELAY); errno != 0 {
			return false, "set TCP_NODELAY", errno
		}
	}
	if c.service.source == SourceTransparent {
		if step, errno := u.impersonate(c.client); errno != 0 {
			return false, step, errno
		}
	}
	var sa unix.RawSockaddrInet6
	size := putSockaddr(&sa, u.family, c.dest.Addr)
	switch _, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(u.fd), uintptr(unsafe.Pointer(&sa)), size); errno {
	case 0:
		return true, "", 0
	case unix.EINPROGRESS, unix.EINTR:
		return false, "", 0
	default:
		return false, "connect", errno
	}
}

// impersonate gives the socket the client's address and port.
//
// Neither IP_BIND_ADDRESS_NO_PORT nor IP_LOCAL_PORT_RANGE would do any good:
// they are for a port that the kernel chooses. SO_REUSEADDR is for a client that
// uses one port towards two services: their sockets differ by the real server.
func (u upstream) impersonate(client netip.AddrPort) (step string, errno unix.Errno) {
	if is6(client.Addr()) != (u.family == unix.AF_INET6) {
		return "bind", unix.EAFNOSUPPORT
	}
	if errno := u.transparent(); errno != 0 {
		return "set IP_TRANSPARENT", errno
	}
	if errno := u.set(unix.SOL_SOCKET, unix.SO_REUSEADDR); errno != 0 {
		return "set SO_REUSEADDR", errno
	}
	var sa unix.RawSockaddrInet6
	size := putSockaddr(&sa, u.family, client)
	_, _, errno = unix.RawSyscall(unix.SYS_BIND, uintptr(u.fd), uintptr(unsafe.Pointer(&sa)), size)
	return "bind", errno
}

// transparent lets the socket have an address that is not of this machine. It
// takes CAP_NET_ADMIN or CAP_NET_RAW.
func (u upstream) transparent() unix.Errno {
	if u.family == unix.AF_INET6 {
		return u.set(unix.SOL_IPV6, unix.IPV6_TRANSPARENT)
	}
	return u.set(unix.SOL_IP, unix.IP_TRANSPARENT)
}

// set turns an option of the socket on.
func (u upstream) set(level, option int) unix.Errno {
	one := int32(1)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(u.fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one), 0)
	return errno
}

// is6 tells whether an address takes a socket of IPv6.
func is6(a netip.Addr) bool { return a.Is6() && !a.Is4In6() }

// putSockaddr writes an address as the kernel wants it, and returns its size.
func putSockaddr(sa *unix.RawSockaddrInet6, family int, a netip.AddrPort) uintptr {
	if family == unix.AF_INET6 {
		*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: a.Addr().As16()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], a.Port())
		return unix.SizeofSockaddrInet6
	}
	sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
	*sa4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().Unmap().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa4.Port))[:], a.Port())
	return unix.SizeofSockaddrInet4
}

// header is what a real server is to be sent before anything of the client: nil
// but for SourceProxy. local is the address that the client called.
func (c *connection) header(local netip.AddrPort, typ int) []byte {
	if c.service.source != SourceProxy {
		return nil
	}
	return appendProxy(make([]byte, 0, 52), c.client, local, typ == unix.SOCK_STREAM)
}

// dialError says why the connection to a real server could not be begun. Its
// text says what to do. It matches the error number, and what that matches.
type dialError struct {
	step     string
	to, from netip.AddrPort // from: the client, if it is to be the source
	errno    unix.Errno
}

func (e *dialError) Unwrap() error { return e.errno }

// Is matches fs.ErrPermission and the like, by the error number.
func (e *dialError) Is(target error) bool { return e.errno.Is(target) }

func (e *dialError) Error() string {
	text := fmt.Sprintf("reach real server %s: %v", e.to, os.NewSyscallError(e.step, e.errno))
	if advice := e.advice(); advice != "" {
		return text + ": " + advice
	}
	return text
}

// advice is what to do.
func (e *dialError) advice() string {
	switch e.errno {
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EAGAIN: // EAGAIN: of UDP, which needs a port for each session
		if e.from.IsValid() {
			return fmt.Sprintf("there is, or was a minute ago, a connection between the client %s and it", e.from)
		}
		return "no local port is free: widen net.ipv4.ip_local_port_range; for TCP set net.ipv4.tcp_tw_reuse to 1, or give the real server more addresses or ports"
	case unix.EMFILE:
		return "the process has no descriptor left: raise its limit (RLIMIT_NOFILE), or lower Config.MaxConnections"
	case unix.ENFILE:
		return "the system has no descriptor left: raise fs.file-max"
	case unix.EPERM, unix.EACCES:
		if e.step == "set IP_TRANSPARENT" {
			return errTransparent
		}
		return "a firewall or a rule of routing of this machine forbids it"
	case unix.EAFNOSUPPORT:
		if e.from.IsValid() {
			return fmt.Sprintf("the client %s is of the other family and cannot be the source: use SourceProxy", e.from)
		}
	case unix.ENETUNREACH, unix.EHOSTUNREACH:
		return "this machine has no route to it"
	}
	return ""
}

const errTransparent = "a transparent source takes CAP_NET_ADMIN: grant it, or use SourceProxy or SourceLocal"

// checkSource is the error that the connections of a service would meet for
// want of rights: it matches fs.ErrPermission. It is to be called in the network
// namespace of the Engine.
func checkSource(s *service) error {
	if s.source != SourceTransparent {
		return nil
	}
	family := unix.AF_INET
	if is6(s.ID.Addr.Addr()) {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	switch errno := (upstream{fd: fd, family: family}).transparent(); errno {
	case 0:
		return nil
	case unix.EPERM:
		return fmt.Errorf("%s: %w", errTransparent, fs.ErrPermission)
	default:
		return os.NewSyscallError("setsockopt", errno)
	}
}
