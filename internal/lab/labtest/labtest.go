// Package labtest is internal/lab for tests: what goes wrong fails the test,
// and what was made ends with it.
//
//	func TestMain(m *testing.M) { labtest.Main(m) }
//
//	func TestPing(t *testing.T) {
//		l := labtest.New(t)
//		lan := labtest.Switch(t, l, "lan")
//		a, b := labtest.Host(t, l, "a"), labtest.Host(t, l, "b")
//		labtest.Connect(t, a, lan, "10.0.0.1/24")
//		labtest.Connect(t, b, lan, "10.0.0.2/24")
//		labtest.Run(t, b, "ping", "-c1", "10.0.0.1")
//	}
//
// # How it flows
//
// All is in labtest.go: Main once for the program, New once for a test, the
// rest on what New returns.
package labtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/need"
)

// unavailable is why Main could not get the rights to make a lab.
var unavailable error

// Main runs the tests of a package, as root or in a user namespace, see
// lab.Enter. Where neither can be had it runs them all the same; then New
// skips the tests that call it.
func Main(m *testing.M) {
	if unavailable = lab.Enter(); unavailable != nil && !errors.Is(unavailable, errors.ErrUnsupported) {
		fmt.Fprintln(os.Stderr, unavailable)
	}
	os.Exit(m.Run())
}

// New makes a lab that is closed at the end of the test. If the test fails,
// its log has the output of all programs started in the lab. A test that
// cannot have a lab is skipped, unless the run promised root, see need.Root.
func New(t testing.TB) *lab.Lab {
	t.Helper()
	need.Root(t)
	l, err := lab.New(lab.Config{})
	if err = errors.Join(unavailable, err); errors.Is(err, fs.ErrPermission) && os.Getenv(need.Promised) == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		if !t.Failed() {
			return
		}
		for _, p := range l.Processes() {
			t.Logf("%s on %s:\n%s", p, p.Host().Name(), p.Output())
		}
	})
	return l
}

// Switch adds a switch.
func Switch(t testing.TB, l *lab.Lab, name string) *lab.Switch {
	t.Helper()
	s, err := l.Switch(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Host adds a host.
func Host(t testing.TB, l *lab.Lab, name string) *lab.Host {
	t.Helper()
	h, err := l.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Connect connects a host to a switch, by its next interface, with these
// addresses, such as "10.0.0.1/24".
func Connect(t testing.TB, h *lab.Host, s *lab.Switch, addrs ...string) *lab.Link {
	t.Helper()
	var cfg lab.LinkConfig
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Addrs = append(cfg.Addrs, p)
	}
	k, err := h.Connect(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Run runs a program on a host, for a minute at most, and returns its
// standard output. The test needs the program, see need.Program.
func Run(t testing.TB, h *lab.Host, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := h.Run(ctx, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Start starts a program on a host and waits until it has written text, for
// half a minute at most; "" does not wait.
func Start(t testing.TB, h *lab.Host, text, name string, args ...string) *lab.Process {
	t.Helper()
	p, err := h.Start(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	if text == "" {
		return p
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.WaitOutput(ctx, text); err != nil {
		t.Fatal(err)
	}
	return p
}
