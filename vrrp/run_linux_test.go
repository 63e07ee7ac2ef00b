package vrrp

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// patience is how long a test waits for what takes a second at most on a machine
// that is not emulated.
const patience = time.Minute

// node is a Router that runs on a host of the lab.
type node struct {
	t      *testing.T
	Router *Router
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex // guards events
	events []Event
}

// start runs a Router on a host until the end of the test or stop.
func start(t *testing.T, h *lab.Host, cfg Config) *node {
	t.Helper()
	n := &node{t: t}
	cfg.NetNS = h.Path()
	if cfg.Interface == "" {
		cfg.Interface = "eth0"
	}
	if cfg.VRID == 0 {
		cfg.VRID = 51
	}
	if cfg.Name == "" {
		cfg.Name = h.Name()
	}
	if cfg.Interval == 0 {
		cfg.Interval = pace()
	}
	if cfg.Addresses == nil {
		cfg.Addresses = addrs("10.0.0.100")
	}
	cfg.OnEvent = n.event
	var err error
	if n.Router, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	n.run()
	t.Cleanup(func() { n.stop() })
	return n
}

// pace is the interval of the tests: long enough that a machine that is emulated,
// and ten times slower, keeps up.
func pace() time.Duration {
	if need.Emulated() {
		return 500 * time.Millisecond
	}
	return 100 * time.Millisecond
}

func (n *node) event(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
}

// run runs the Router, once more after stop.
func (n *node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	n.cancel, n.done = cancel, done
	go func() { done <- n.Router.Run(ctx) }()
}

// stop ends the Router and returns what Run has returned.
func (n *node) stop() error {
	n.cancel()
	err := <-n.done
	n.done <- err
	return err
}

// wait waits until the state of the Router is as wanted.
func (n *node) wait(what string, ok func(Status) bool) Status {
	n.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		s := n.Router.Status()
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%s: not %s after %v: %+v\nevents: %+v", s.Name, what, patience, s, n.seen(0))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (n *node) waitState(want State) Status {
	n.t.Helper()
	return n.wait(want.String(), func(s Status) bool { return s.State == want })
}

// seen are the events of a kind; 0 is all.
func (n *node) seen(kind EventKind) []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Event
	for _, e := range n.events {
		if kind == 0 || e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// waitEvent waits for an event.
func (n *node) waitEvent(what string, ok func(Event) bool) Event {
	n.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		for _, e := range n.seen(0) {
			if ok(e) {
				return e
			}
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("no event %s after %v: %+v", what, patience, n.seen(0))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// pair is two hosts on one switch, 10.0.0.1 and 10.0.0.2.
func pair(t *testing.T) (a, b *lab.Host, la, lb *lab.Link) {
	t.Helper()
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	a, b = labtest.Host(t, l, "a"), labtest.Host(t, l, "b")
	la = labtest.Connect(t, a, lan, "10.0.0.1/24", "fe80::1/64")
	lb = labtest.Connect(t, b, lan, "10.0.0.2/24", "fe80::2/64")
	return a, b, la, lb
}

func TestTheHigherPriorityIsActive(t *testing.T) {
	ha, hb, _, _ := pair(t)
	a := start(t, ha, Config{Priority: 200})
	b := start(t, hb, Config{Priority: 100})
	a.waitState(Active)
	s := b.wait("backup of a", func(s Status) bool { return s.State == Backup && s.Active == netip.MustParseAddr("10.0.0.1") })
	if s.ActivePriority != 200 {
		t.Errorf("b hears priority %d, want 200", s.ActivePriority)
	}
	// a resigns, and b follows without waiting for the silence
	if err := a.stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if s := b.waitState(Active); s.Reason != ReasonResigned {
		t.Errorf("b took over because of %q, want %q", s.Reason, ReasonResigned)
	}
	a.run()
	a.waitState(Active)
	if s := b.waitState(Backup); s.Reason != ReasonHigher {
		t.Errorf("b gave way because of %q, want %q", s.Reason, ReasonHigher)
	}
}
