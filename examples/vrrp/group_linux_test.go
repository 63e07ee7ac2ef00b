package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// gateway is a machine between two networks that has a virtual address in each;
// its routers run in this process, as in a daemon that embeds the library.
type gateway struct {
	*node
	links   []*lab.Link
	routers []*vrrp.Router
	vips    []string
}

// gatewayVIPs are the addresses on eth0 and eth1.
var gatewayVIPs = []string{"10.51.0.100", "10.52.0.100"}

func newGateways(t *testing.T) (pair [2]*gateway) {
	t.Helper()
	l := labtest.New(t)
	lans := []*lab.Switch{labtest.Switch(t, l, "outside"), labtest.Switch(t, l, "inside")}
	for i, name := range []string{"a", "b"} {
		g := &gateway{node: &node{name: name, host: labtest.Host(t, l, name)}}
		for k, lan := range lans {
			g.links = append(g.links, labtest.Connect(t, g.host, lan, fmt.Sprintf("10.5%d.0.%d/24", k+1, i+1)))
		}
		pair[i] = g
	}
	return pair
}

// prepare makes a router for each of the first n links, which hold the addresses
// by a Set of their own each.
func (g *gateway) prepare(t *testing.T, n int, priority uint8, group *vrrp.Group) *vip.Manager {
	t.Helper()
	m, err := vip.New(vip.Config{NetNS: g.host.Path(), RunDir: t.TempDir()})
	if err == nil {
		err = m.Open()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	for k := range n {
		addr, name := netip.MustParseAddr(gatewayVIPs[k]), fmt.Sprintf("eth%d", k)
		set, err := m.Set(name, vip.State{Addresses: []vip.Address{{Interface: name, Addr: addr}}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := vrrp.New(vrrp.Config{
			NetNS: g.host.Path(), Interface: name, VRID: 51, Addresses: []netip.Addr{addr}, Priority: priority,
			Interval: mode{version: 3}.every(), Group: group, Binder: set,
		})
		if err != nil {
			t.Fatal(err)
		}
		g.routers, g.vips = append(g.routers, r), append(g.vips, gatewayVIPs[k])
	}
	return m
}

// run runs the routers until the test ends.
func (g *gateway) run(t *testing.T, m *vip.Manager) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := m.Run(ctx); err != nil {
			t.Errorf("the addresses of %s: %v", g.name, err)
		}
	})
	running.Go(func() {
		if err := vrrp.Run(ctx, g.routers...); err != nil {
			t.Errorf("the routers of %s: %v", g.name, err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if g.holds(t, g.vips...) {
			t.Errorf("%s has left a virtual address", g.name)
		}
	})
}

// hasAll tells whether g is Active everywhere and alone has all addresses.
func (g *gateway) hasAll(t *testing.T, other *gateway) bool {
	t.Helper()
	for _, r := range g.routers {
		if r.Status().State != vrrp.Active {
			return false
		}
	}
	missing := slices.ContainsFunc(g.vips, func(vip string) bool { return !g.holds(t, vip) })
	return !missing && !other.holds(t, other.vips...)
}

func (g *gateway) takes(t *testing.T, other *gateway, why string) {
	t.Helper()
	await(t, g.name+" alone has all addresses: "+why, 15*time.Second, func() bool { return g.hasAll(t, other) })
}

// TestSyncGroupMovesBothLinksTogether cuts one of two networks: the address of the
// other one moves too, so that what goes in by a machine comes out by it.
func TestSyncGroupMovesBothLinksTogether(t *testing.T) {
	t.Parallel()
	pair := newGateways(t)
	a, b := pair[0], pair[1]
	a.run(t, a.prepare(t, 2, high, vrrp.NewGroup("gateway")))
	b.run(t, b.prepare(t, 2, low, vrrp.NewGroup("gateway")))
	a.takes(t, b, "it has the higher priority")
	for _, link := range a.links {
		if err := link.Down(); err != nil {
			t.Fatal(err)
		}
		b.takes(t, a, "one link of a is cut")
		if err := link.Up(); err != nil {
			t.Fatal(err)
		}
		a.takes(t, b, "all links are back")
	}
}

// TestTrackersMoveTheAddressAndBack lets what is tracked go down and up again.
func TestTrackersMoveTheAddressAndBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		base, weight int
		up, down     uint8 // the effective priority of a
	}{
		{"a positive weight counts while it is up", 90, 20, 110, 90},
		{"a negative weight counts while it is down", 110, -20, 110, 90},
		{"weight 0 is a fault", 110, 0, 110, 110},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pair := newGateways(t)
			a, b := pair[0], pair[1]
			manager := a.prepare(t, 1, uint8(tt.base), nil)
			app, err := a.routers[0].Track("app", tt.weight)
			if err != nil {
				t.Fatal(err)
			}
			a.run(t, manager)
			b.run(t, b.prepare(t, 1, 100, nil))
			for range 2 {
				a.takes(t, b, "what it tracks is up")
				a.hasPriority(t, tt.up)
				app.Down()
				b.takes(t, a, "what a tracks is down")
				a.hasPriority(t, tt.down)
				app.Up()
			}
			a.takes(t, b, "what it tracks is up again")
		})
	}
}

func (g *gateway) hasPriority(t *testing.T, want uint8) {
	t.Helper()
	if got := g.routers[0].Status().Priority; got != want {
		t.Errorf("the effective priority of %s is %d, want %d", g.name, got, want)
	}
}
