package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// batchBytes bounds the messages of one send; maxSendOverhead is what the
	// kernel keeps of the send buffer for itself (netlink_sendmsg).
	batchBytes      = 128 << 10
	maxSendOverhead = 32

	// errorTruesize is above what one error costs of the receive buffer: 768
	// bytes on 6.1, 960 on 6.12.
	errorTruesize = 1280
	socketBuffer  = 1 << 20 // asked for; the kernel doubles it
	minBatchSize  = 16
	answerTimeout = 10 * time.Second
	familyName    = "IPVS"
)

// receiveBuffers are what the reads of each socket offer. The kernel cuts
// dumps into pieces of the largest buffer that it has seen on a socket, 32 KiB
// at most: the pieces of the two sockets end in different places.
var receiveBuffers = [...]int{wide: 64 << 10, narrow: 20 << 10}

var (
	// errStale says that the family has another number than when the socket
	// was dialled: ip_vs was unloaded and loaded again.
	errStale = errors.New("the family of IPVS has a new number")

	errNoAnswer = errors.New("the kernel does not answer")
	errSequence = errors.New("answer to another request")
)

// conn is a generic netlink socket that speaks to IPVS, for one exchange at a
// time. mdlayher/netlink dials it and waits on it; the messages are written
// and read here, since its own way allocates and copies each of them: a batch
// by SendMessages took 1.5 times as long (33 to 46 us a change against 22 to 26,
// emulated 6.12).
type conn struct {
	c      *netlink.Conn
	raw    syscall.RawConn
	family uint16
	seq    uint32 // of the last message
	enc    encoder
	buf    []byte

	maxBytes, maxMessages int // of a batch

	// broken says that an exchange was cut off, so that answers to it may
	// still come: the socket must not be used again.
	broken bool

	// The functions for raw, and what passes between them and their callers:
	// made once, they save an allocation for each system call.
	readFunc, writeFunc func(fd uintptr) bool
	wait                bool // readFunc waits for an answer
	n                   int
	errno               error
}

// dial opens a socket in the namespace of the calling thread.
func dial(buffer int) (*conn, error) {
	nc, err := netlink.Dial(unix.NETLINK_GENERIC, &netlink.Config{MessageBufferSize: buffer})
	if err != nil {
		return nil, err
	}
	c := &conn{c: nc, buf: make([]byte, buffer)}
	if err := c.setup(); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) setup() error {
	family, err := genetlink.NewConn(c.c).GetFamily(familyName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNoModule
	case err != nil:
		return fmt.Errorf("look up the netlink family of IPVS: %w", err)
	case family.ID == 0: // a family of 0 would be acknowledged and ignored
		return ErrNoModule
	}
	c.family = family.ID
	if err := c.c.SetOption(netlink.CapAcknowledge, true); err != nil {
		return err
	}
	if err := errors.Join(c.c.SetReadBuffer(socketBuffer), c.c.SetWriteBuffer(socketBuffer)); err != nil {
		return err
	}
	receive, err := c.c.ReadBuffer()
	if err != nil {
		return err
	}
	send, err := c.c.WriteBuffer()
	if err != nil {
		return err
	}
	c.maxBytes = min(batchBytes, send-maxSendOverhead)
	c.maxMessages = max(receive/errorTruesize, minBatchSize)
	if c.raw, err = c.c.SyscallConn(); err != nil {
		return err
	}
	c.readFunc, c.writeFunc = c.readOnce, c.writeOnce
	return nil
}

func (c *conn) readOnce(fd uintptr) bool {
	for {
		c.n, c.errno = unix.Read(int(fd), c.buf)
		if c.errno != unix.EINTR {
			return c.errno != unix.EAGAIN || !c.wait
		}
	}
}

func (c *conn) writeOnce(fd uintptr) bool {
	for {
		c.n, c.errno = unix.Write(int(fd), c.enc.b)
		if c.errno != unix.EINTR {
			return c.errno != unix.EAGAIN
		}
	}
}

// send writes what is in enc.
func (c *conn) send() error {
	if err := c.raw.Write(c.writeFunc); err != nil {
		return err
	}
	return c.errno
}

// receive reads a datagram, valid until the next call. As the kernel answers
// within send, it nearly always finds one; only where it does not does it
// look at ctx while it waits.
func (c *conn) receive(ctx context.Context) ([]byte, error) {
	c.wait = false
	if err := c.raw.Read(c.readFunc); err != nil {
		return nil, err
	}
	if c.errno == unix.EAGAIN {
		if err := c.receiveSlowly(ctx); err != nil {
			return nil, err
		}
	}
	return c.buf[:max(c.n, 0)], c.errno
}

func (c *conn) receiveSlowly(ctx context.Context) error {
	if err := c.c.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	c.wait = true
	err := c.raw.Read(c.readFunc)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errNoAnswer
	}
	return err
}

// begin starts a message of a new exchange.
func (c *conn) begin(cmd command, flags uint16) (mark int) {
	c.enc.b = c.enc.b[:0]
	c.seq++
	return c.enc.begin(c.family, cmd, flagRequest|flags, c.seq)
}

// answers sends what is in enc and hands the messages that come back to fn,
// until it says that it has all of them; first marks the first of a datagram.
// Every error here, unlike those that the kernel answers with, leaves the
// socket broken.
func (c *conn) answers(ctx context.Context, fn func(m message, first bool) (done bool, err error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.broken = true
	if err := c.send(); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	for done := false; !done; {
		b, err := c.receive(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for first := true; len(b) > 0; first = false {
			var m message
			if m, b, err = nextMessage(b); err != nil {
				return err
			}
			if m.typ == messageNoop {
				continue
			}
			if done, err = fn(m, first); err != nil {
				return err
			}
		}
	}
	c.broken = false
	return nil
}

// kernelErrno is an answer of the kernel that is an error.
type kernelErrno struct {
	cmd   command
	errno unix.Errno
}

func (e kernelErrno) Error() string { return e.errno.Error() }

// execute ends the message at mark, sends it, and waits for the answer or the
// acknowledgement, which is nil.
func (c *conn) execute(ctx context.Context, cmd command, mark int) (answer []byte, err error) {
	c.enc.end(mark)
	var errno int
	err = c.answers(ctx, func(m message, _ bool) (bool, error) {
		if m.seq != c.seq {
			return false, errSequence
		}
		if m.typ == messageError {
			errno, err = m.errno()
			return true, err
		}
		answer, err = m.attributes()
		return true, err
	})
	if err != nil {
		return nil, err
	}
	return answer, c.kernelError(ctx, cmd, errno)
}

// kernelError is nil for errno zero. The kernel answers ENOENT also to a family
// that is gone.
func (c *conn) kernelError(ctx context.Context, cmd command, errno int) error {
	switch {
	case errno == 0:
		return nil
	case unix.Errno(errno) != unix.ENOENT:
	case cmd == cmdGetInfo:
		c.broken = true
		return errStale
	default:
		if _, err := c.execute(ctx, cmdGetInfo, c.begin(cmdGetInfo, 0)); err != nil {
			return err
		}
	}
	return kernelErrno{cmd, unix.Errno(errno)}
}

// dump ends the message at mark, sends it, and hands each answer's attributes
// to fn. pieces is how many times the kernel had to look at its table: a dump
// in one piece is the table of one moment.
func (c *conn) dump(ctx context.Context, cmd command, mark int, fn func([]byte) error) (pieces int, err error) {
	c.enc.end(mark)
	var errno int
	err = c.answers(ctx, func(m message, first bool) (bool, error) {
		if m.seq != c.seq {
			return false, errSequence
		}
		if m.typ == messageError || m.typ == messageDone {
			errno, err = m.errno()
			return true, err
		}
		if first {
			pieces++
		}
		b, err := m.attributes()
		if err != nil {
			return false, err
		}
		return false, fn(b)
	})
	if err != nil {
		return 0, err
	}
	return pieces, c.kernelError(ctx, cmd, errno)
}

func (c *conn) close() error { return c.c.Close() }
