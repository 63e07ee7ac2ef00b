package userspace

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/tabletest"
	"github.com/lvskit/lvskit/ipvs"
)

// forwarding is an empty table that forwards, in the namespace at path, and runs.
func forwarding(t testing.TB, path string) *runningEngine {
	t.Helper()
	e, err := Open(Config{NetNS: path, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningEngine{Engine: e, cancel: cancel}
	r.running.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { r.Close() })
	return r
}

type runningEngine struct {
	*Engine
	cancel  func()
	running sync.WaitGroup
}

// Close ends Run first.
func (r *runningEngine) Close() error {
	r.cancel()
	r.running.Wait()
	return r.Engine.Close()
}

func TestTableThatForwards(t *testing.T) {
	host := labtest.Host(t, labtest.New(t), "director")
	tabletest.RunForwarding(t, func(t *testing.T) ipvs.Table { return forwarding(t, host.Path()) })
}

// TestRefusedByATableThatForwards wants clear words, and nothing changed, for
// what the kernel takes and this Engine cannot do.
func TestRefusedByATableThatForwards(t *testing.T) {
	host := labtest.Host(t, labtest.New(t), "director")
	e := forwarding(t, host.Path())
	ctx := t.Context()
	vip := ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")}
	good := ipvs.Service{ID: vip, Scheduler: ipvs.RR, Destinations: []ipvs.Destination{
		{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Forward: ipvs.ForwardMasq, Weight: 1},
	}}
	if err := e.AddService(ctx, good); err != nil {
		t.Fatal(err)
	}
	before := wholeTable(t, e)

	services := map[string]struct {
		id   ipvs.ServiceID
		says string
	}{
		"a firewall mark": {ipvs.ServiceID{FWMark: 1}, "use services by address"},
		"SCTP":            {ipvs.ServiceID{Protocol: ipvs.SCTP, Addr: vip.Addr}, "ipvs.Open"},
		"every port":      {ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.0.2.2:0")}, "a service for each port"},
	}
	for name, tt := range services {
		s := ipvs.Service{ID: tt.id, Persistence: ipvs.Persistence{Timeout: time.Minute}}
		refusedFor(t, name, e.AddService(ctx, s), tt.says)
		made, err := e.Apply(ctx, []ipvs.Service{s}, ipvs.Policy{})
		refusedFor(t, name+", by Apply", err, tt.says)
		if len(made) > 0 {
			t.Errorf("%s: Apply made %v", name, made)
		}
	}
	destinations := map[string]struct {
		addr    string
		forward ipvs.Forward
		says    string
	}{
		"direct routing":     {"10.0.0.1:80", ipvs.ForwardRoute, "set Forward to ForwardMasq"},
		"a tunnel":           {"10.0.0.1:80", ipvs.ForwardTunnel, "set Forward to ForwardMasq"},
		"the service itself": {"192.0.2.1:80", ipvs.ForwardMasq, "the program that answers"},
		"itself, by local":   {"192.0.2.1:80", ipvs.ForwardLocal, "the program that answers"},
	}
	for name, tt := range destinations {
		d := ipvs.Destination{Addr: netip.MustParseAddrPort(tt.addr), Forward: tt.forward, Weight: 1}
		other := good
		other.ID.Addr = netip.MustParseAddrPort("192.0.2.2:80")
		if d.Addr == vip.Addr {
			d.Addr = other.ID.Addr
		}
		other.Destinations = append([]ipvs.Destination{{Addr: netip.MustParseAddrPort("10.0.0.9:80"), Forward: ipvs.ForwardMasq}}, d)
		refusedFor(t, name+", with its service", e.AddService(ctx, other), tt.says)
		d.Addr = netip.MustParseAddrPort(tt.addr)
		refusedFor(t, name+", added", e.AddDestination(ctx, vip, d), tt.says)
		refusedFor(t, name+", updated", e.UpdateDestination(ctx, vip, d), tt.says)
	}
	if after := wholeTable(t, e); len(after) != 1 || after[vip].Destinations[0] != before[vip].Destinations[0] {
		t.Errorf("the table is %+v, was %+v", after, before)
	}
	local := ipvs.Destination{Addr: netip.MustParseAddrPort("127.0.0.1:80"), Forward: ipvs.ForwardLocal, Weight: 1}
	if err := e.AddDestination(ctx, vip, local); err != nil {
		t.Errorf("a destination on the director itself: %v", err)
	}
	// What was refused left no socket behind.
	other := good
	other.ID.Addr = netip.MustParseAddrPort("192.0.2.2:80")
	if err := forwarding(t, host.Path()).AddService(ctx, other); err != nil {
		t.Error(err)
	}
}

func refusedFor(t *testing.T, what string, err error, says string) {
	t.Helper()
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v does not match errors.ErrUnsupported and say %q", what, err, says)
	}
}
