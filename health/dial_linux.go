package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"

	"github.com/lvskit/lvskit/internal/netns"
	"golang.org/x/sys/unix"
)

// supported tells whether this system can do what s asks for.
func (s Source) supported() error { return nil }

// connect is dial without the words. It makes system calls itself, because package net
// needs twice as many for a connection that lives for a moment.
func (s Source) connect(ctx context.Context, network string, to netip.AddrPort) (conn, error) {
	kind := unix.SOCK_STREAM
	if network == "udp" {
		kind = unix.SOCK_DGRAM
	}
	c := &socket{ctx: ctx, kind: kind, to: to}
	entered := false
	err := netns.Do(s.NetNS, func() (err error) {
		entered = true
		sa, err := sockaddr(to)
		if err != nil {
			return err
		}
		if c.fd, err = s.socket(to.Addr(), kind, 0); err != nil {
			return err
		}
		if err = c.connect(sa); err != nil {
			unix.Close(c.fd)
		}
		return err
	})
	if err != nil {
		if !entered {
			err = inconclusive(err)
		}
		return nil, err
	}
	if err := c.connected(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// socket opens a socket (SOCK_STREAM, SOCK_DGRAM, SOCK_RAW) for what is sent to addr,
// with all that s asks for, bound, non-blocking. It works in the calling thread's
// namespace. Its errors match ErrInconclusive.
func (s Source) socket(addr netip.Addr, kind, protocol int) (int, error) {
	family := unix.AF_INET6
	if addr.Unmap().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, inconclusive(os.NewSyscallError("socket", err))
	}
	if err := s.prepare(fd, family, kind); err != nil {
		unix.Close(fd)
		return -1, inconclusive(err)
	}
	return fd, nil
}

// prepare sets what s asks for, and binds.
func (s Source) prepare(fd, family, kind int) error {
	if err := s.setOptions(fd); err != nil {
		return err
	}
	if !s.Addr.IsValid() && s.Port == 0 {
		return nil
	}
	switch {
	case kind != unix.SOCK_STREAM:
	case s.Port == 0:
		// Many connections share a port, as long as they go to different servers.
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // since 4.2, a refinement
	default:
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	from := s.Addr.Unmap()
	switch {
	case from.IsValid():
	case family == unix.AF_INET:
		from = netip.IPv4Unspecified()
	default:
		from = netip.IPv6Unspecified()
	}
	sa, err := sockaddr(netip.AddrPortFrom(from, s.Port))
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return fmt.Errorf("send from %s: %w%s", netip.AddrPortFrom(from, s.Port), os.NewSyscallError("bind", err), advice[err])
	}
	return nil
}

// advice says what to do about an errno of bind.
var advice = map[error]string{
	unix.EADDRNOTAVAIL: ": this machine does not have the address",
	unix.EADDRINUSE:    ": another socket has the port",
	unix.EACCES:        ": a port below 1024 takes CAP_NET_BIND_SERVICE",
}

// setOptions sets the device and the mark.
func (s Source) setOptions(fd int) error {
	if s.Device != "" {
		switch err := unix.BindToDevice(fd, s.Device); {
		case errors.Is(err, unix.ENODEV):
			return fmt.Errorf("send through %s: %w: %w", s.Device, os.NewSyscallError("setsockopt", err), fs.ErrNotExist)
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("send through %s: %w: it takes CAP_NET_RAW", s.Device, os.NewSyscallError("setsockopt", err))
		case err != nil:
			return fmt.Errorf("send through %s: %w", s.Device, os.NewSyscallError("setsockopt", err))
		}
	}
	if s.Mark != 0 {
		switch err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(s.Mark)); {
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("set mark %d: %w: it takes CAP_NET_ADMIN", s.Mark, os.NewSyscallError("setsockopt", err))
		case err != nil:
			return fmt.Errorf("set mark %d: %w", s.Mark, os.NewSyscallError("setsockopt", err))
		}
	}
	return nil
}

// sockaddr is an address as the kernel takes it. The name of a zone is looked up in
// the calling thread's namespace.
func sockaddr(to netip.AddrPort) (unix.Sockaddr, error) {
	if addr := to.Addr().Unmap(); addr.Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: addr.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	zone := to.Addr().Zone()
	if zone == "" {
		return sa, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		sa.ZoneId = uint32(n)
		return sa, nil
	}
	index, err := interfaceIndex(zone)
	if err != nil {
		return nil, inconclusive(fmt.Errorf("zone %s: %w: %w", zone, err, fs.ErrNotExist))
	}
	sa.ZoneId = index
	return sa, nil
}

func interfaceIndex(name string) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
	}
	if err != nil {
		return 0, os.NewSyscallError("ioctl", err)
	}
	return req.Uint32(), nil
}
