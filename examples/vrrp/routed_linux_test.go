package main

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// newRoutedRig puts the two nodes into networks of their own, with a router
// between them, which takes one from the TTL of what it forwards.
func newRoutedRig(t *testing.T, program string, m mode) *rig {
	t.Helper()
	r := &rig{mode: m, vrid: 51, program: program, lab: labtest.New(t)}
	between := labtest.Host(t, r.lab, "router")
	if err := between.Forward(); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "b"} {
		lan := labtest.Switch(t, r.lab, name)
		n := &node{name: name, host: labtest.Host(t, r.lab, name)}
		n.v4 = netip.AddrFrom4([4]byte{10, 51, byte(i + 1), 1})
		n.link = labtest.Connect(t, n.host, lan, n.v4.String()+"/24")
		labtest.Connect(t, between, lan, fmt.Sprintf("10.51.%d.254/24", i+1))
		if err := n.host.Route(netip.MustParsePrefix("0.0.0.0/0"), netip.AddrFrom4([4]byte{10, 51, byte(i + 1), 254})); err != nil {
			t.Fatal(err)
		}
		n.wire = capture(t, n.link, says)
		r.nodes = append(r.nodes, n)
	}
	return r
}

// TestUnicastAcrossARouter elects between networks, as in a cloud where the
// address is moved by other means.
func TestUnicastAcrossARouter(t *testing.T) {
	t.Parallel()
	program := compiled(t)
	m := named("v3 IPv4 unicast")
	for _, pair := range [][2]string{{"lvskit", "keepalived"}, {"keepalived", "lvskit"}, {"lvskit", "lvskit"}} {
		if left(pair[0], pair[1], m) {
			continue
		}
		t.Run(pair[0]+" over "+pair[1], func(t *testing.T) {
			t.Parallel()
			c := newRoutedRig(t, program, m).cell(t, pair[0], options{priority: high}, pair[1], options{priority: low})
			begun := time.Now()
			c.b.start(t)
			c.sole(t, c.b.at(), begun)
			begun = time.Now()
			c.a.start(t)
			c.sole(t, c.a.at(), begun)
			begun = time.Now()
			c.a.signal(t, syscall.SIGKILL)
			c.sole(t, c.b.at(), begun)
			gap, _ := c.gap(t, c.a.at(), c.b.at(), begun)
			c.within(t, "take-over from the killed", gap, 3*m.every(), 3*m.every()+m.skew(low))
			c.a.ended(t)
		})
	}
}
