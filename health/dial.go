package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

// conn is a connection of one probe. Reads and writes end when the probe's context
// does, whatever its Deadline says: late ones with context.DeadlineExceeded,
// cancelled ones with context.Canceled. Each system has its own below it: dial_*.go.
type conn interface {
	net.Conn
	// reset makes Close end a TCP connection by a reset (SO_LINGER 0), so that neither
	// side keeps it in TIME_WAIT.
	reset() error
}

// dial connects to a server: network is "tcp" or "udp". The connection belongs to ctx,
// see conn. Local faults match ErrInconclusive; the error is not an OpError yet.
func (s Source) dial(ctx context.Context, network string, to netip.AddrPort) (conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault(err)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	asks(ctx)
	c, err := s.connect(ctx, network, to)
	if err != nil {
		return nil, fault(ended(ctx, err))
	}
	goesOn(ctx)
	if s.Port != 0 && network == "tcp" {
		if err := c.reset(); err != nil {
			c.Close()
			return nil, inconclusive(err)
		}
	}
	return c, nil
}

// errTimeout is what a probe ends with that got no answer before its deadline.
var errTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "no answer in time" }
func (timeoutError) Unwrap() error   { return context.DeadlineExceeded }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// past is before every deadline.
var past = time.Unix(1, 0)

// ended replaces the error of an operation that ended with its context, which comes
// in many forms: os.ErrDeadlineExceeded, "i/o timeout", "operation was canceled".
func ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) && (isTimeout(err) || errors.Is(err, context.Canceled)) {
		return context.Canceled
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) && !isErrno(err) {
		return errTimeout
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// errClosed is what the server's end of the connection means to a prober that wanted
// more of it.
var errClosed = errors.New("the server closed the connection")

// unexpected words the end of a stream that should go on.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errClosed
	}
	return err
}
