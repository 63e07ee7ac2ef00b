package userspace_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a client asks an obedient server for, by its first byte.
const (
	askEcho   = 'e' // until the client's end, then close
	askReset  = 'r' // reset at once
	askHang   = 'h' // neither read nor answer nor close, until it is cut
	askHalf   = 'f' // end the answer, then read to the client's end, and close
	askStream = 's' // send streamSize bytes, and close
	askFlood  = 'S' // the same with floodSize
	askSum    = 'w' // read to the client's end, then answer with the checksum
)

const (
	streamSize = 8 << 20
	floodSize  = 128 << 20 // more than all buffers take
)

// obedient is a real server that fails as its clients want.
type obedient struct {
	ln    net.Listener
	wg    sync.WaitGroup
	end   chan struct{}
	heard chan error   // how connections of askHang and askHalf have ended, if somebody listens
	sent  atomic.Int64 // progress of the last askStream
}

func newObedient(t testing.TB) *obedient {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &obedient{ln: ln, end: make(chan struct{}), heard: make(chan error, 1)}
	s.wg.Go(s.serve)
	t.Cleanup(s.close)
	return s
}

func (s *obedient) addr() netip.AddrPort { return s.ln.Addr().(*net.TCPAddr).AddrPort() }

// close ends the server and its connections. It may be called again.
func (s *obedient) close() {
	select {
	case <-s.end:
		return
	default:
	}
	close(s.end)
	s.ln.Close()
	s.wg.Wait()
}

func (s *obedient) serve() {
	for {
		c, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		s.wg.Go(func() {
			defer c.Close()
			gone := make(chan struct{})
			defer close(gone)
			s.wg.Go(func() {
				select {
				case <-s.end:
					_ = c.SetDeadline(time.Now())
				case <-gone:
				}
			})
			s.obey(c.(*net.TCPConn))
		})
	}
}

func (s *obedient) obey(c *net.TCPConn) {
	var ask [1]byte
	if _, err := io.ReadFull(c, ask[:]); err != nil {
		return
	}
	switch ask[0] {
	case askEcho:
		_, _ = io.Copy(c, struct{ io.Reader }{c}) // no splice: it takes pipes
	case askReset:
		_ = c.SetLinger(0)
	case askHang:
		tell(s.heard, s.awaitCut(c))
	case askHalf:
		_, _ = c.Write([]byte("half"))
		_ = c.CloseWrite()
		n, err := io.Copy(io.Discard, c)
		if err == nil && n != 1<<20 {
			err = io.ErrUnexpectedEOF
		}
		tell(s.heard, err)
	case askStream:
		s.stream(c, streamSize)
	case askFlood:
		s.stream(c, floodSize)
	case askSum:
		sum := crc32.NewIEEE()
		if _, err := io.Copy(sum, struct{ io.Reader }{c}); err == nil {
			_, _ = c.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
		}
	}
}

// tell tells who listens.
func tell[T any](to chan T, v T) {
	select {
	case to <- v:
	default:
	}
}

func (s *obedient) stream(c *net.TCPConn, size int) {
	b := make([]byte, 64<<10)
	for n := 0; n < size; n += len(b) {
		pattern(b, n)
		if _, err := c.Write(b); err != nil {
			return
		}
		s.sent.Store(int64(n + len(b)))
	}
}

// pattern is what a stream has at an offset.
func pattern(b []byte, offset int) {
	for i := range b {
		n := offset + i
		b[i] = byte(n ^ n>>8 ^ n>>16)
	}
}

var errEnded = errors.New("the server was closed first")

// awaitCut waits for a reset, without reading.
func (s *obedient) awaitCut(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var events int16
		err := raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd)}}
			_, _ = unix.Poll(p, 0)
			events = p[0].Revents
		})
		if err != nil {
			return err
		}
		if events&(unix.POLLERR|unix.POLLHUP) != 0 {
			return nil
		}
		select {
		case <-s.end:
			return errEnded
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// deaf is the address of a server that accepts nothing, and whose backlog is full.
func deaf(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.Listen(fd, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*unix.SockaddrInet4).Port))
	for range 16 {
		d := net.Dialer{Timeout: 100 * time.Millisecond}
		c, err := d.DialContext(context.Background(), "tcp", addr.String())
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("a backlog of 0 takes 16 connections")
	return addr
}

// dial connects to a service and asks. The connection is bounded in time and
// closed at the end of the test.
func dial(t testing.TB, vip netip.AddrPort, ask byte) *net.TCPConn {
	t.Helper()
	c, err := tryDial(vip, ask)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func tryDial(vip netip.AddrPort, ask byte) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", vip.String(), patience())
	if err != nil {
		return nil, err
	}
	c := conn.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(patience()))
	if _, err := c.Write([]byte{ask}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// wasReset tells a connection that was cut from one that has ended.
func wasReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// echoed sends so many bytes there and back.
func echoed(c net.Conn, n int) error {
	want, got := make([]byte, n), make([]byte, n)
	pattern(want, n)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(want)
		wrote <- err
	}()
	_, err := io.ReadFull(c, got)
	if err := errors.Join(err, <-wrote); err != nil {
		return err
	}
	if string(got) != string(want) {
		return errors.New("other bytes came back")
	}
	return nil
}
