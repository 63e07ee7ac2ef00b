package vrrp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/netns"
)

func TestRunRefuses(t *testing.T) {
	mk := func(cfg Config) *Router {
		cfg.Addresses = addrs("10.0.0.100")
		r, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a := mk(Config{Interface: "eth0", VRID: 1, NetNS: "/nowhere/x"})
	if err := a.Run(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such namespace: %v", err)
	}
	if err := Run(t.Context(), a, mk(Config{Interface: "eth0", VRID: 2})); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("two namespaces: %v", err)
	}
	if err := Run(t.Context(), a, mk(Config{Interface: "eth0", VRID: 1, NetNS: "/nowhere/x"})); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a VRID twice: %v", err)
	}
	if err := Run(t.Context(), a, a); !errors.Is(err, ErrRunning) {
		t.Errorf("a Router twice: %v", err)
	}
}

func TestRunNeedsCapNetRaw(t *testing.T) {
	labtest.New(t)
	r, err := New(Config{Interface: "lo", VRID: 1, Addresses: addrs("10.0.0.100")})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	netns.Go(func() { // the thread ends, and with it what it has lost
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capset(&hdr, &data[0]); err != nil {
			done <- err
			return
		}
		done <- r.Run(t.Context())
	})
	if err := <-done; !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Run without capabilities: %v", err)
	} else {
		t.Log(err)
	}
}

func TestRunLeavesNothing(t *testing.T) {
	ha, hb, _, _ := pair(t)
	count := func() (goroutines, descriptors int) {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(list)
	}
	start(t, hb, Config{Priority: 50, Interval: time.Second})
	g0, d0 := 0, 0
	for n := range 5 {
		a := start(t, ha, Config{VirtualMAC: true, SecondPath: SecondPath{Interface: "lo", Peers: addrs("10.0.0.9")}})
		a.waitState(Active)
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		if n == 0 {
			g0, d0 = count()
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		g, d := count()
		if g <= g0 && d <= d0 {
			return
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines and %d descriptors, before %d and %d\n%s", g, d, g0, d0, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestManyGoroutinesAtOnce(t *testing.T) {
	ha, hb, _, _ := pair(t)
	a := start(t, ha, Config{Priority: 200})
	b := start(t, ha, Config{Name: "b", VRID: 52, Priority: 100, Addresses: addrs("10.0.0.101")}) // another Run of the same host
	start(t, hb, Config{Priority: 50})
	a.waitState(Active)
	b.waitState(Active)
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			for k := range 10 {
				switch r := a.Router; n % 4 {
				case 0:
					if s := r.Status(); s.State != Active {
						t.Errorf("state %v because of %v", s.State, s.Reason)
					}
				case 1:
					cfg := *r.config()
					cfg.Priority = uint8(200 + n%50)
					if err := r.Update(cfg); err != nil {
						t.Error(err)
					}
				default:
					tr, err := r.Track(fmt.Sprintf("%d/%d", n, k), n%4-2)
					if err != nil {
						t.Error(err)
						continue
					}
					tr.Up()
					if n%4 == 3 {
						tr.Down()
					}
					tr.Close()
				}
			}
		})
	}
	wg.Wait()
	a.stop()
	if s := a.Router.Status(); s.State != Initialize || s.Stats.BecameActive != 1 {
		t.Errorf("at the end: %+v", s)
	}
}

// Without NetNS a Router belongs to the namespace of the thread that calls Run,
// though other threads do the work.
func TestRunOnAThreadOfAnotherNamespace(t *testing.T) {
	ha, hb, _, _ := pair(t)
	start(t, hb, Config{Priority: 200}).waitState(Active)
	n := &node{t: t, done: make(chan error, 1)}
	var err error
	n.Router, err = New(Config{Interface: "eth0", VRID: 51, Addresses: addrs("10.0.0.100"), Interval: pace()})
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	go func() { n.done <- ha.Do(func() error { return n.Router.Run(ctx) }) }()
	n.wait("backup of b", func(s Status) bool { return s.State == Backup && s.ActivePriority == 200 })
	if err := n.stop(); err != nil {
		t.Error(err)
	}
}

// Routers whose lists of addresses differ drop each other's advertisements in
// version 2, and both are Active: both tell of it.
func TestTwoThatDoNotUnderstandEachOther(t *testing.T) {
	ha, hb, _, _ := pair(t)
	a := start(t, ha, Config{Version: V2, Interval: time.Second})
	b := start(t, hb, Config{Version: V2, Interval: time.Second, Priority: 200, Addresses: addrs("10.0.0.100", "10.0.0.101")})
	for _, n := range []*node{a, b} {
		n.waitEvent("two active", func(e Event) bool { return e.Kind == TwoActive })
		n.waitEvent("other addresses", func(e Event) bool { return e.Kind == PeerDiffers && e.Mismatch&AddressMismatch != 0 })
		if s := n.Router.Status(); s.Stats.TwoActive != 1 || len(s.Rivals) != 1 {
			t.Errorf("%d others told, rivals are %v, want one", s.Stats.TwoActive, s.Rivals)
		}
	}
	b.stop()
	a.waitEvent("healed", func(e Event) bool { return e.Kind == Healed })
	a.wait("no rival", func(s Status) bool { return len(s.Rivals) == 0 && s.Stats.TwoActive == 1 })
}
