package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// loopback listens on a port of this machine.
func loopback(t testing.TB) (net.Listener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, netip.MustParseAddrPort(l.Addr().String())
}

// soon is a context for what does not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// serve answers each connection to a port of this machine with fn. At the end of the
// test the connections are closed, and fn must return.
func serve(t testing.TB, fn func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				fn(c)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// drip writes text a byte at a time, and never comes to the end of a long one.
func drip(c net.Conn, text string) {
	for _, b := range []byte(text) {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond) // the server is slow
	}
}

// endless writes text again and again, until the client has gone.
func endless(c net.Conn, text string) {
	block := []byte(strings.Repeat(text, 1+4096/len(text)))
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// hold keeps the connection until the client has gone.
func hold(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// thin leaves every fourth row where they would take long, and the kernel does not
// matter to them.
func thin[T any](rows []T) []T {
	if !need.Emulated() {
		return rows
	}
	var few []T
	for i := 0; i < len(rows); i += 4 {
		few = append(few, rows[i])
	}
	return few
}

// A verdict is what a probe should come to.
type verdict struct {
	text string // in the error; "" is success
	is   error  // nil: any
}

// probeTimeout is for probes that should end by it, or are expected to be quick.
const probeTimeout = 300 * time.Millisecond

// judge probes, with a timeout that is short if the verdict is that nothing came in
// time, and compares.
func judge(t testing.TB, p Prober, want verdict) Report {
	t.Helper()
	timeout := 10 * time.Second
	late := errors.Is(want.is, context.DeadlineExceeded)
	if late {
		timeout = probeTimeout
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	began := time.Now()
	report, err := p.Probe(ctx)
	took := time.Since(began)
	patience := 2 * time.Second
	if need.Emulated() {
		patience = 20 * time.Second
	}
	if took > timeout+patience {
		t.Errorf("the probe took %v, its timeout was %v", took, timeout)
	}
	var op *OpError
	switch {
	case want.text == "" && want.is == nil:
		if err != nil {
			t.Errorf("got %v", err)
		}
	case err == nil:
		t.Errorf("passed, want %q", want.text)
	case !errors.As(err, &op) || op.Op == "":
		t.Errorf("%v is not an OpError", err)
	case !strings.Contains(err.Error(), want.text):
		t.Errorf("got %v, want %q", err, want.text)
	case want.is != nil && !errors.Is(err, want.is):
		t.Errorf("%v does not match %v", err, want.is)
	case !errors.Is(want.is, ErrInconclusive) && errors.Is(err, ErrInconclusive):
		t.Errorf("%v is inconclusive", err)
	}
	return report
}
