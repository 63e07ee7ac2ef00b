package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

func TestDialTalks(t *testing.T) {
	l, addr := loopback(t)
	c, err := Source{}.dial(soon(t), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if c.LocalAddr().String() != server.RemoteAddr().String() || c.RemoteAddr().String() != server.LocalAddr().String() {
		t.Errorf("we are %v and talk to %v, the server is %v and talks to %v", c.LocalAddr(), c.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
	}
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(server, b); err != nil || string(b) != "ping" {
		t.Fatalf("the server read %q, %v", b, err)
	}
	if _, err := io.WriteString(server, "pong"); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "pong" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := c.Read(b); err == nil {
		t.Error("a closed connection is read")
	}
}

func TestDialOfNobodyIsRefused(t *testing.T) {
	l, addr := loopback(t)
	l.Close()
	_, err := Source{}.dial(soon(t), "tcp", addr)
	if !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrInconclusive) {
		t.Errorf("got %v", err)
	}
}

func TestAConnectionEndsWithItsContext(t *testing.T) {
	l, addr := loopback(t)
	defer l.Close()
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		c, err := Source{}.dial(ctx, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(fault(err), ErrInconclusive) {
			t.Errorf("read until the deadline: %v", err)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(soon(t))
		c, err := Source{}.dial(ctx, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.AfterFunc(10*time.Millisecond, cancel)
		_, err = c.Read(make([]byte, 1))
		if !errors.Is(err, context.Canceled) || !errors.Is(fault(err), ErrInconclusive) {
			t.Errorf("read until cancelled: %v", err)
		}
	})
	t.Run("over before it begins", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := (Source{}).dial(ctx, "tcp", addr); !errors.Is(err, ErrInconclusive) {
			t.Errorf("dial when cancelled: %v", err)
		}
	})
}

// blackhole is an address that never answers: its backlog is full.
func blackhole(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 3 { // one is accepted, one may be on the way
		c, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("the backlog does not fill up")
	return addr
}

func TestConnectingEndsWithItsContext(t *testing.T) {
	addr := blackhole(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Source{}).dial(ctx, "tcp", addr); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrInconclusive) {
		t.Errorf("dial until the deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(soon(t))
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := (Source{}).dial(ctx, "tcp", addr); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrInconclusive) {
		t.Errorf("dial until cancelled: %v", err)
	}
}

func TestDialUDP(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, err := Source{}.dial(soon(t), "udp", netip.MustParseAddrPort(server.LocalAddr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	n, from, err := server.ReadFrom(b)
	if err != nil || string(b[:n]) != "ping" || from.String() != c.LocalAddr().String() {
		t.Fatalf("the server read %q from %v, %v; we are %v", b[:n], from, err, c.LocalAddr())
	}
	for _, answer := range []string{"", "pong"} {
		if _, err := server.WriteTo([]byte(answer), from); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(b); err != nil || string(b[:n]) != answer {
			t.Errorf("read %q, %v; want %q", b[:n], err, answer)
		}
	}
	server.Close()
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(b); !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(fault(err), ErrInconclusive) {
		t.Errorf("a port that is closed answers %v", err)
	}
}

// TestNobodyIsNotOurselves: where nobody listens, the kernel may choose the very port
// that is asked for, and connect the socket to itself.
func TestNobodyIsNotOurselves(t *testing.T) {
	l, addr := loopback(t)
	l.Close()
	from := Source{Addr: addr.Addr(), Port: addr.Port()}
	judge(t, TCP{Addr: addr, Source: from}, verdict{"connection refused", syscall.ECONNREFUSED})
}
