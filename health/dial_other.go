//go:build !linux

package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// supported tells whether this system can do what s asks for.
func (s Source) supported() error {
	if s.Device != "" || s.Mark != 0 || s.NetNS != "" {
		return fmt.Errorf("device, mark and network namespace are for Linux: %w", errors.ErrUnsupported)
	}
	return nil
}

// connect is dial without the words.
func (s Source) connect(ctx context.Context, network string, to netip.AddrPort) (conn, error) {
	if err := s.supported(); err != nil {
		return nil, err
	}
	d := net.Dialer{KeepAlive: -1}
	if local := netip.AddrPortFrom(s.Addr, s.Port); s.Addr.IsValid() || s.Port != 0 {
		if !s.Addr.IsValid() {
			local = netip.AddrPortFrom(unspecified(to.Addr()), s.Port)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
		if network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(local)
		}
	}
	c, err := d.DialContext(undated{ctx}, network, to.String())
	if err != nil {
		var call *os.SyscallError
		if errors.As(err, &call) && call.Syscall == "connect" {
			err = call.Err
		}
		return nil, err
	}
	return &socket{Conn: c, ctx: ctx, stop: context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })}, nil
}

// undated is a context whose deadline the Dialer does not see: the end is what counts.
type undated struct{ context.Context }

func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// socket binds a connection to a context.
type socket struct {
	net.Conn
	ctx  context.Context
	stop func() bool
	once sync.Once
}

func (c *socket) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	goesOn(c.ctx)
	return n, c.words(err)
}

func (c *socket) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.words(err)
}

func (c *socket) words(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return ended(c.ctx, err)
}

func (c *socket) Close() error {
	c.once.Do(func() { c.stop() })
	return c.Conn.Close()
}

func (c *socket) reset() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.SetLinger(0)
	}
	return nil
}

// The end is that of the context.
func (c *socket) SetDeadline(time.Time) error      { return nil }
func (c *socket) SetReadDeadline(time.Time) error  { return nil }
func (c *socket) SetWriteDeadline(time.Time) error { return nil }
