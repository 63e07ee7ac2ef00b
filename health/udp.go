package health

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"time"
)

// UDP sends a datagram to a server (keepalived: UDP_CHECK).
//
// It fails if the network answers that the port or the host cannot be reached
// (ICMP: syscall.ECONNREFUSED, EHOSTUNREACH, ...). Without Reply silence passes: only
// a closed port is noticed, not a server that hangs or a host that is off; and as
// hosts answer only some probes a second by ICMP (on Linux about one from each
// address, icmp_ratelimit), many such checks of one host need long intervals. With Reply, or
// Expect, silence until the deadline fails.
type UDP struct {
	// Addr is the server.
	Addr   netip.AddrPort
	Source Source
	// Payload is what is sent, 0 to 1400 bytes; "" is an empty datagram, which many
	// servers ignore.
	Payload string
	// Reply wants any datagram from the server.
	Reply bool
	// Expect wants a datagram that it matches, in its first 4096 bytes; others are
	// passed over. A byte that is not UTF-8 matches "." alone. It implies Reply.
	Expect *regexp.Regexp
	// Wait is how long silence must last to pass, without Reply; 0 means 500 ms. The
	// deadline, if it comes first, ends it likewise.
	Wait time.Duration
}

const (
	defaultUDPWait = 500 * time.Millisecond
	maxUDPPayload  = 1400 // fits an Ethernet frame through a tunnel
	maxDatagram    = 4096 // how much is read of one
	maxLate        = 100  // datagrams that are read after the deadline
)

// Validate tells whether the fields make sense; the error matches fs.ErrInvalid, or
// errors.ErrUnsupported.
func (p UDP) Validate() error {
	if len(p.Payload) > maxUDPPayload {
		return opError("validate", p.Addr.String(), invalid("Payload has %d bytes, want at most %d", len(p.Payload), maxUDPPayload))
	}
	if p.Wait < 0 || p.Wait > 0 && p.reply() {
		return opError("validate", p.Addr.String(), invalid("Wait is %v, and is for probes without Reply", p.Wait))
	}
	return p.Source.validateAddrPort(p.Addr)
}

func (p UDP) reply() bool { return p.Reply || p.Expect != nil }

// Probe sends and waits, see UDP. The Report is empty.
func (p UDP) Probe(ctx context.Context) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, fault(err)
	}
	op, err := p.probe(ctx)
	if err != nil {
		return Report{}, opError(op, p.Addr.String(), fault(err))
	}
	return Report{}, nil
}

func (p UDP) probe(ctx context.Context) (op string, err error) {
	if !p.reply() {
		wait := p.Wait
		if wait == 0 {
			wait = defaultUDPWait
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	c, err := p.Source.dial(ctx, "udp", p.Addr)
	if err != nil {
		return "connect", err
	}
	defer c.Close()
	if _, err := c.Write([]byte(p.Payload)); err != nil {
		return "send", err
	}
	err = p.listen(c)
	if errors.Is(err, context.DeadlineExceeded) && !p.reply() {
		err = nil // silence
	}
	return "receive", err
}

// listen waits for what passes.
func (p UDP) listen(c conn) error {
	in := datagrams{conn: c, buf: make([]byte, maxDatagram)}
	other := ""
	for {
		b, err := in.next()
		switch {
		case err != nil && other != "":
			return fmt.Errorf("want %s, got %s: %w", p.Expect, other, err)
		case err != nil:
			return err
		case p.Expect == nil || p.Expect.Match(b):
			return nil
		}
		other = excerpt(b)
	}
}

// datagrams are what comes over a connected socket.
type datagrams struct {
	conn conn
	buf  []byte
	late int
}

// next waits for one. When the deadline has come, it still reads those that were in
// time: this process may have been stopped, or had no processor.
func (d *datagrams) next() ([]byte, error) {
	n, err := d.conn.Read(d.buf)
	if errors.Is(err, context.DeadlineExceeded) && d.late < maxLate {
		d.late++
		n, err = late(d.conn, d.buf, err)
	}
	return d.buf[:n], err
}
