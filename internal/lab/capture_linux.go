package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// captureBuffer is what the kernel may keep for the reader, in bytes. A user
// namespace gets at most net.core.rmem_max.
const captureBuffer = 32 << 20

// Capture collects the frames of a link until it is closed.
type Capture struct {
	link   *Link
	file   *os.File // the packet socket
	conn   syscall.RawConn
	filter func([]byte) bool
	done   chan struct{} // closed when the reader has ended

	mu      sync.Mutex // guards what follows
	buf     []byte
	frames  []Frame
	next    int // index of what Next returns next
	lost    int
	closed  bool
	changed chan struct{} // closed at the next change
}

// Capture collects what goes over the link from now on, both ways, as the
// switch's end of the cable sees it. The filter keeps frames for which it is
// true, nil keeps all; it is called in order, must not keep the frame nor use
// the Capture. VLAN tags are not shown. Lab.Close closes the Capture.
func (k *Link) Capture(filter func(frame []byte) bool) (*Capture, error) {
	c := &Capture{link: k, filter: filter, buf: make([]byte, 1<<17), changed: make(chan struct{}), done: make(chan struct{})}
	err := k.host.lab.use(func() error {
		err := k.host.lab.fabric.do(func() (err error) {
			c.file, err = openPacket(k.port.Index)
			return err
		})
		if err != nil {
			return err
		}
		if c.conn, err = c.file.SyscallConn(); err != nil {
			return errors.Join(err, c.file.Close())
		}
		k.host.lab.sockets = append(k.host.lab.sockets, c)
		return nil
	})
	if err != nil {
		return nil, k.host.wrap("capture "+k.config.Name, err)
	}
	go c.run()
	return c, nil
}

// openPacket opens a packet socket on an interface of the calling thread's
// namespace. Protocol 0 receives nothing until bind has named the interface.
func openPacket(index int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer) != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, captureBuffer)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "packet socket"), nil
}

// run reads until Close. The poller calls drain when the socket is readable.
func (c *Capture) run() {
	defer close(c.done)
	_ = c.conn.Read(func(fd uintptr) bool {
		c.drain(int(fd))
		return false
	})
}

// drain takes in all frames that the kernel has for us.
func (c *Capture) drain(fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := len(c.frames)
	var oob [128]byte
	for {
		n, oobn, _, from, err := unix.Recvmsg(fd, c.buf, oob[:], 0)
		if err == unix.EINTR || err == unix.ENETDOWN { // the cable was pulled
			continue
		}
		if err != nil {
			break
		}
		if c.filter != nil && !c.filter(c.buf[:n]) {
			continue
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		c.frames = append(c.frames, Frame{
			Time:     timestamp(oob[:oobn]),
			FromHost: ok && ll.Pkttype != unix.PACKET_OUTGOING,
			Data:     slices.Clone(c.buf[:n]),
		})
	}
	if stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		c.lost += int(stats.Drops) // the kernel counts from zero after each call
	}
	if len(c.frames) > had {
		c.tell()
	}
}

// tell wakes who waits for a change, with c locked.
func (c *Capture) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// timestamp is the kernel's time of reception among the control messages.
func timestamp(oob []byte) time.Time {
	msgs, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range msgs {
		var ts unix.Timespec
		if m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(ts)) {
			ts = *(*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(ts.Unix())
		}
	}
	return time.Now()
}

// Frames returns all frames so far. What was on the link before the call is
// among them: to see that something was not sent, no wait is needed after the
// event that would have sent it.
func (c *Capture) Frames() []Frame {
	_ = c.conn.Control(func(fd uintptr) { c.drain(int(fd)) }) // fails when closed: all is here
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.frames)
}

// Next returns the first frame, at the next call the second, and so on. It
// waits for the frame; after Close it returns those that are left and then an
// error that matches net.ErrClosed.
func (c *Capture) Next(ctx context.Context) (Frame, error) {
	for {
		c.mu.Lock()
		if c.next < len(c.frames) {
			c.next++
			f := c.frames[c.next-1]
			c.mu.Unlock()
			return f, nil
		}
		closed, changed := c.closed, c.changed
		c.mu.Unlock()
		if closed {
			return Frame{}, fmt.Errorf("lab: capture: %w", net.ErrClosed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Frame{}, fmt.Errorf("lab: capture on %s of %s: %w", c.link.config.Name, c.link.host.name, ctx.Err())
		}
	}
}

// Lost is how many frames so far the kernel had no room for.
func (c *Capture) Lost() int {
	c.Frames()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// Close ends the capture; its frames stay. It always returns nil.
func (c *Capture) Close() error {
	c.Frames()
	c.file.Close()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.tell()
	}
	return nil
}

func networkOrder(v uint16) uint16 {
	b := *(*[2]byte)(unsafe.Pointer(&v))
	return uint16(b[0])<<8 | uint16(b[1])
}
