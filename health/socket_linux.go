package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a connection that belongs to a context. It is a plain descriptor as long
// as nothing has to be waited for, and joins the runtime's poller only then: a TCP
// connection within one machine is often complete at once.
type socket struct {
	ctx  context.Context
	kind int // SOCK_STREAM or SOCK_DGRAM
	to   netip.AddrPort

	mu   sync.Mutex // guards fd, file and stop
	fd   int        // -1 once file has it, or it is closed
	file *os.File
	stop func() bool // parts the connection from ctx
}

// connect begins to connect: connected tells how it ended.
func (c *socket) connect(sa unix.Sockaddr) error {
	err := unix.Connect(c.fd, sa)
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// connected waits for the connection.
func (c *socket) connected() error {
	if c.kind != unix.SOCK_STREAM {
		return nil
	}
	if done, err := c.established(c.fd); done {
		return err
	}
	file, err := c.open()
	if err != nil {
		return err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) (done bool) {
		done, failed = c.established(int(fd))
		return done
	})
	if err == nil {
		return failed
	}
	return plain(err)
}

// established tells whether the connection is complete, or has failed.
func (c *socket) established(fd int) (bool, error) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, 0)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll(poll, 0)
	}
	if n == 0 && err == nil {
		return false, nil
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return true, os.NewSyscallError("getsockopt", err)
	case errno != 0:
		return true, unix.Errno(errno)
	case local(fd) == c.to:
		// Nobody listens, and the kernel has chosen the very port that was asked for.
		return true, unix.ECONNREFUSED
	}
	return true, nil
}

// local is the address of a socket, without its zone.
func local(fd int) netip.AddrPort {
	switch sa, _ := unix.Getsockname(fd); sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// open hands the descriptor to the poller, and ties it to the context.
func (c *socket) open() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		return c.file, nil
	}
	if c.fd < 0 {
		return nil, net.ErrClosed
	}
	if c.kind == unix.SOCK_STREAM {
		_ = unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // a refinement
	}
	file := os.NewFile(uintptr(c.fd), "socket")
	c.file, c.fd = file, -1
	c.stop = context.AfterFunc(c.ctx, func() { _ = file.SetDeadline(past) }) // fails once it is closed
	return file, nil
}

// Read reads. An empty datagram is no end.
func (c *socket) Read(b []byte) (int, error) {
	file, err := c.open()
	if err != nil {
		return 0, err
	}
	n, err := file.Read(b)
	goesOn(c.ctx)
	if c.kind != unix.SOCK_STREAM && errors.Is(err, io.EOF) {
		return 0, nil
	}
	return n, ended(c.ctx, plain(err))
}

func (c *socket) Write(b []byte) (int, error) {
	file, err := c.open()
	if err != nil {
		return 0, err
	}
	n, err := file.Write(b)
	return n, ended(c.ctx, plain(err))
}

// plain takes the layer of package os away.
func plain(err error) error {
	var layer *os.PathError
	if errors.As(err, &layer) {
		return layer.Err
	}
	return err
}

func (c *socket) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		if c.stop != nil {
			c.stop()
		}
		return c.file.Close()
	}
	fd := c.fd
	c.fd = -1
	if fd < 0 {
		return net.ErrClosed
	}
	return os.NewSyscallError("close", unix.Close(fd))
}

func (c *socket) reset() error {
	if c.kind != unix.SOCK_STREAM {
		return nil
	}
	return c.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	})
}

// control calls fn with the descriptor.
func (c *socket) control(fn func(fd int) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		if c.fd < 0 {
			return net.ErrClosed
		}
		return fn(c.fd)
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = fn(int(fd)) })
	return errors.Join(err, failed)
}

func (c *socket) RemoteAddr() net.Addr { return c.netAddr(c.to) }

func (c *socket) LocalAddr() net.Addr {
	var addr netip.AddrPort
	_ = c.control(func(fd int) error { addr = local(fd); return nil })
	return c.netAddr(addr)
}

func (c *socket) netAddr(a netip.AddrPort) net.Addr {
	if c.kind == unix.SOCK_STREAM {
		return net.TCPAddrFromAddrPort(a)
	}
	return net.UDPAddrFromAddrPort(a)
}

// The end is that of the context.
func (c *socket) SetDeadline(time.Time) error      { return nil }
func (c *socket) SetReadDeadline(time.Time) error  { return nil }
func (c *socket) SetWriteDeadline(time.Time) error { return nil }
