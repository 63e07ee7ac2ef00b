package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
)

// TCP asks whether a server accepts connections and, if told to, what it answers.
//
// It fails if the connection is refused or does not come about in time; if the server
// closes it, or has sent MaxBytes, and nothing matches Expect; and if that takes longer
// than the context allows, however often something comes. The error matches what the
// network answered (syscall.ECONNREFUSED, EHOSTUNREACH, ...) or
// context.DeadlineExceeded.
type TCP struct {
	// Addr is the server.
	Addr   netip.AddrPort
	Source Source
	// Send is sent as soon as the connection stands, byte for byte; "" is nothing.
	Send string
	// Expect must match what the server sends: all that has come so far, after each
	// piece of it, so that $ is rarely of use. nil expects nothing, and nothing is
	// read. For a literal text: regexp.MustCompile(regexp.QuoteMeta(text)).
	Expect *regexp.Regexp
	// MaxBytes is how much of the answer is read at most, 1 to 65536; 0 means 4096.
	MaxBytes int
	// Reset closes the connection by a reset (RST, by SO_LINGER 0) and not by FIN. A
	// connection that ends by FIN stays in TIME_WAIT on this machine for a
	// minute: 60 entries and 60 of the 28,232 usual local ports a server that is probed
	// every second. A reset leaves nothing, but servers may log it.
	Reset bool
}

// limits of TCP.MaxBytes.
const (
	defaultTCPBytes = 4096
	maxTCPBytes     = 64 << 10
)

// Validate tells whether the fields make sense; the error matches fs.ErrInvalid, or
// errors.ErrUnsupported.
func (p TCP) Validate() error {
	if p.MaxBytes < 0 || p.MaxBytes > maxTCPBytes {
		return opError("validate", p.Addr.String(), invalid("MaxBytes is %d, want 0 to %d", p.MaxBytes, maxTCPBytes))
	}
	return p.Source.validateAddrPort(p.Addr)
}

// Probe connects, sends and expects, see TCP. The Report is empty.
func (p TCP) Probe(ctx context.Context) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, fault(err)
	}
	op, err := p.probe(ctx)
	if err != nil {
		return Report{}, opError(op, p.Addr.String(), fault(err))
	}
	return Report{}, nil
}

func (p TCP) probe(ctx context.Context) (op string, err error) {
	c, err := p.Source.dial(ctx, "tcp", p.Addr)
	if err != nil {
		return "connect", err
	}
	defer c.Close()
	if p.Reset {
		if err := c.reset(); err != nil {
			return "connect", inconclusive(err)
		}
	}
	if p.Send != "" {
		if _, err := io.WriteString(c, p.Send); err != nil {
			return "send", err
		}
	}
	if p.Expect == nil {
		return "", nil
	}
	return "expect", p.expect(c)
}

// expect reads until the answer matches.
func (p TCP) expect(r io.Reader) error {
	limit := p.MaxBytes
	if limit == 0 {
		limit = defaultTCPBytes
	}
	got := make([]byte, 0, min(limit, 512))
	for {
		if len(got) == cap(got) {
			got = append(got, 0)[:len(got)]
		}
		n, err := r.Read(got[len(got):min(cap(got), limit)])
		got = got[:len(got)+n]
		if n > 0 && p.Expect.Match(got) {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("want %s, got %s: %w", p.Expect, excerpt(got), errClosed)
		case err != nil:
			return fmt.Errorf("want %s, got %s: %w", p.Expect, excerpt(got), err)
		case len(got) >= limit:
			return fmt.Errorf("want %s, got %s: not within %d bytes", p.Expect, excerpt(got), limit)
		}
	}
}

// excerpt quotes the beginning of what came from outside, for an error.
func excerpt[T string | []byte](b T) string {
	const most = 60
	switch {
	case len(b) == 0:
		return "nothing"
	case len(b) > most:
		return fmt.Sprintf("%.*q... (%d bytes)", most, b[:most], len(b))
	}
	return fmt.Sprintf("%q", b)
}
