package userspace_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/userspace"
)

// A victim is an Engine that runs and whose leaks are looked for.
type victim struct {
	*userspace.Engine
	descriptors int // of this process while there are no connections
}

// newVictim runs an Engine. At the end of the test Run must return nil and leave
// no descriptor and no goroutine behind.
func newVictim(t *testing.T, cfg userspace.Config, timeouts ipvs.Timeouts, services ...ipvs.Service) *victim {
	t.Helper()
	warmUp(t)
	descriptors, goroutines := openDescriptors(t), runtime.NumGoroutine()
	t.Cleanup(func() {
		await(t, func() error {
			if n := openDescriptors(t); n > descriptors {
				return fmt.Errorf("%d descriptors, %d before the test", n, descriptors)
			}
			if n := runtime.NumGoroutine(); n > goroutines {
				return fmt.Errorf("%d goroutines, %d before the test:\n%s", n, goroutines, stacks())
			}
			return nil
		})
	})
	e, err := userspace.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{Engine: e}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience()):
			t.Errorf("Run does not end:\n%s", stacks())
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	if timeouts != (ipvs.Timeouts{}) {
		if err := e.SetTimeouts(ctx, timeouts); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range services {
		if err := e.AddService(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	go func() { done <- e.Run(ctx) }()
	v.descriptors = openDescriptors(t)
	return v
}

// warmUp has the runtime open what it opens once.
func warmUp(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// spareDescriptors are what an Engine keeps for its next connections: 16 pipes a
// worker.
func spareDescriptors() int { return runtime.GOMAXPROCS(0) * 16 * 2 }

// settled waits until there is no connection, no count of any, and no
// descriptor more than before them but for the spare ones. So close first what is
// the test's.
func (v *victim) settled(t *testing.T) {
	t.Helper()
	v.idle(t)
	await(t, func() error {
		if n := openDescriptors(t); n > v.descriptors+spareDescriptors() {
			return fmt.Errorf("%d descriptors, %d before there were connections", n, v.descriptors)
		}
		return nil
	})
}

// idle waits until there is no connection, and no count of any.
func (v *victim) idle(t *testing.T) {
	t.Helper()
	await(t, func() error {
		list, err := v.Services(context.Background())
		if err != nil {
			return err
		}
		for _, s := range list {
			for _, d := range s.Destinations {
				if d.Active != 0 || d.Inactive != 0 {
					return fmt.Errorf("%v has %d active and %d inactive connections", d.Addr, d.Active, d.Inactive)
				}
			}
		}
		for c, err := range v.Connections(context.Background()) {
			if err != nil {
				return err
			}
			if !c.Template() {
				return fmt.Errorf("%v is in the table", c)
			}
		}
		return nil
	})
}

// await waits until something is so.
func await(t testing.TB, so func() error) {
	t.Helper()
	for end := time.Now().Add(patience()); ; time.Sleep(20 * time.Millisecond) {
		err := so()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Error(err)
			return
		}
	}
}

func patience() time.Duration {
	if need.Emulated() {
		return time.Minute
	}
	return 30 * time.Second
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func stacks() []byte {
	text := make([]byte, 1<<20)
	return text[:runtime.Stack(text, true)]
}

// freePort is an address on which nobody listens.
func freePort(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// masq is a service with real servers.
func masq(p ipvs.Protocol, vip netip.AddrPort, servers ...netip.AddrPort) ipvs.Service {
	s := ipvs.Service{ID: ipvs.ServiceID{Protocol: p, Addr: vip}, Scheduler: ipvs.RR}
	for _, addr := range servers {
		s.Destinations = append(s.Destinations, ipvs.Destination{Addr: addr, Forward: ipvs.ForwardMasq, Weight: 1})
	}
	return s
}
