package userspace

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

// idleConnections is what TestIdleConnections holds, if descriptors allow.
var idleConnections = flag.Int("idle", 0, "connections of TestIdleConnections; 0: 20,000, and 2,000 in an emulated machine")

// An outcast is an Engine in a process of its own.
type outcast struct {
	contestant
	reports int
}

// newOutcast starts an Engine with a service at 127.0.0.1:8101, in front of the
// child "servers", on a host of its own.
func newOutcast(t *testing.T, env ...string) (*outcast, *lab.Host) {
	t.Helper()
	h := labtest.Host(t, labtest.New(t), "box")
	awaitOutput(t, startChild(t, h, "servers"), "ready")
	vip := netip.MustParseAddrPort("127.0.0.1:8101")
	service := ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: vip}, Scheduler: ipvs.RR, Destinations: []ipvs.Destination{
		{Addr: netip.MustParseAddrPort("127.0.1.1:7001"), Forward: ipvs.ForwardMasq, Weight: 1},
		{Addr: netip.MustParseAddrPort("127.0.1.2:7001"), Forward: ipvs.ForwardMasq, Weight: 1},
	}}
	services, err := json.Marshal([]ipvs.Service{service})
	if err != nil {
		t.Fatal(err)
	}
	p := startChild(t, h, "engine", append(env, servicesEnv+"="+string(services))...)
	awaitOutput(t, p, "ready")
	return &outcast{contestant: contestant{name: "engine", process: p, echo: []netip.AddrPort{vip}}}, h
}

// census asks the Engine how many connections it has.
func (o *outcast) census(t *testing.T) string {
	t.Helper()
	if err := o.process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	o.reports++
	prefix := fmt.Sprintf("report %d: ", o.reports)
	awaitOutput(t, o.process, prefix)
	awaitOutput(t, o.process, prefix+"active ")
	_, text, _ := strings.Cut(o.process.Output(), prefix)
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// awaitCensus waits until the Engine has so many connections.
func (o *outcast) awaitCensus(t *testing.T, active, inactive int) {
	t.Helper()
	want := fmt.Sprintf("active %d, inactive %d, listed %d", active, inactive, active+inactive)
	for end := time.Now().Add(4 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got := o.census(t)
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the table has %s; want %s", got, want)
		}
	}
}

// TestIdleConnections holds many connections, again and again: each has a bounded cost, no
// processor time, and leaves nothing.
func TestIdleConnections(t *testing.T) {
	most := (descriptorLimit(t) - 2500) / 2 // before the children inherit it
	o, h := newOutcast(t)
	n := *idleConnections
	if n == 0 {
		n = 20_000
		if need.Emulated() {
			n = 2_000
		}
	}
	if most < n {
		t.Logf("%d connections are as many as descriptors allow (RLIMIT_NOFILE)", most)
		n = most
	}
	if n < 1000 {
		t.Skip("RLIMIT_NOFILE is too low for 1000 connections")
	}
	w := load{Kind: "idle", Conns: n, Sources: 16, Targets: o.echo}
	empty := o.used(t)
	var before usage
	for round := range 3 {
		p := startChild(t, h, "load", loadEnv+"="+w.String())
		awaitOutput(t, p, "idle")
		o.awaitCensus(t, n, 0)
		full := o.used(t)
		each := float64(full.resident-empty.resident) / float64(n)
		t.Logf("%d connections: %.0f bytes and %.2f descriptors each", n, each, float64(full.descriptors-empty.descriptors)/float64(n))
		if each > bytesMost {
			t.Errorf("a connection takes %.0f bytes, want %d at most", each, bytesMost)
		}
		if fds := full.descriptors - empty.descriptors; fds > 2*n+spareMost {
			t.Errorf("%d descriptors for %d connections", fds, n)
		}
		time.Sleep(2 * time.Second)
		if took := o.used(t).processor - full.processor; took > 200*time.Millisecond && !need.Emulated() {
			t.Errorf("they take %v of processor time in 2 s", took)
		}
		p.Kill()
		o.awaitCensus(t, 0, 0)
		if fds := o.used(t).descriptors; fds > empty.descriptors+spareMost {
			t.Errorf("%d descriptors are left, %d were there before", fds, empty.descriptors)
		}
		if round == 2 && full.resident > before.resident+before.resident/4 {
			t.Errorf("%d bytes for as many connections as had %d", full.resident, before.resident)
		}
		before = full
	}
}

// spareMost are the descriptors that an Engine may keep for its next connections.
const spareMost = 256

// TestDescriptorsRunOut has more clients than an Engine has descriptors for: the
// others wait, and have their turn. It does not spin meanwhile.
func TestDescriptorsRunOut(t *testing.T) {
	o, h := newOutcast(t, descriptorsEnv+"=120")
	var clients []net.Conn
	t.Cleanup(func() {
		for _, c := range clients {
			c.Close()
		}
	})
	for range 150 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		c, err := h.Dial(ctx, "tcp", o.echo[0].String())
		cancel()
		if err != nil {
			t.Fatalf("client %d: %v", len(clients), err)
		}
		clients = append(clients, c)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	served, waiting := split(clients, 2*time.Second)
	t.Logf("%d clients are served, %d wait", len(served), len(waiting))
	if len(served) < 20 || len(waiting) < 50 {
		t.Fatalf("%d clients are served, %d wait", len(served), len(waiting))
	}
	before := o.used(t)
	time.Sleep(2 * time.Second)
	if took := o.used(t).processor - before.processor; took > 500*time.Millisecond && !need.Emulated() {
		t.Errorf("the Engine takes %v of processor time in 2 s while it cannot do anything", took)
	}
	for patience := time.Now().Add(time.Minute); len(waiting) > 0; {
		if time.Now().After(patience) {
			t.Fatalf("%d clients were never served", len(waiting))
		}
		for _, c := range served {
			c.Close()
		}
		served, waiting = split(waiting, time.Second)
	}
	for _, c := range clients {
		c.Close()
	}
	o.awaitCensus(t, 0, 0)
	if fds := o.used(t).descriptors; fds > 120 {
		t.Errorf("%d descriptors", fds)
	}
}

// split tells clients that have had an answer within a time from others. A reset
// is none.
func split(clients []net.Conn, within time.Duration) (served, waiting []net.Conn) {
	deadline := time.Now().Add(within)
	for _, c := range clients {
		// Whoever comes behind one that waits has a look at what is there already.
		_ = c.SetReadDeadline(later(deadline, time.Now().Add(time.Millisecond)))
		if n, _ := c.Read(make([]byte, 1)); n == 1 {
			served = append(served, c)
		} else {
			waiting = append(waiting, c)
		}
	}
	return served, waiting
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
