package main

import (
	"testing"
	"time"
)

// alone is the cell's virtual router beside others on the same rig.
func (r *rig) alone(vrid uint8, vip string) *rig {
	c := *r
	c.vrid, c.mode.vips = vrid, []string{vip}
	return &c
}

// TestTwoRoutersEachNodeMasterOfOne is the active/active of two virtual routers:
// when a node is cut off the other one has both addresses.
func TestTwoRoutersEachNodeMasterOfOne(t *testing.T) {
	t.Parallel()
	program := compiled(t)
	for _, pair := range [][2]string{{"lvskit", "lvskit"}, {"lvskit", "keepalived"}} {
		m := named("v3 IPv4")
		if left(pair[0], pair[1], m) {
			continue
		}
		t.Run(pair[0]+" and "+pair[1], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, program, m)
			first := r.alone(51, "10.51.0.100").cell(t, pair[0], options{priority: high}, pair[1], options{priority: low})
			second := r.alone(52, "10.51.0.101").cell(t, pair[0], options{priority: low, mark: 87}, pair[1], options{priority: high, mark: 87})
			begun := time.Now()
			for _, p := range []peer{first.a, first.b, second.a, second.b} {
				p.start(t)
			}
			first.settled(t, first.a, begun)
			second.settled(t, second.b, begun)

			for _, n := range r.nodes {
				begun = time.Now()
				if err := n.link.Down(); err != nil {
					t.Fatal(err)
				}
				first.settled(t, first.peerOf(r.other(n)), begun)
				second.settled(t, second.peerOf(r.other(n)), begun)
				begun = time.Now()
				if err := n.link.Up(); err != nil {
					t.Fatal(err)
				}
				first.settled(t, first.a, begun)
				second.settled(t, second.b, begun)
			}
		})
	}
}

// TestNoPreemptOnBoth is the cure for two routers that take the address from each
// other: who has it keeps it, whatever the priorities.
func TestNoPreemptOnBoth(t *testing.T) {
	t.Parallel()
	program := compiled(t)
	for _, pair := range pairs {
		m, _ := named("v3 IPv4").of(pair)
		if left(pair[0], pair[1], m) {
			continue
		}
		t.Run(pair[0]+" and "+pair[1], func(t *testing.T) {
			t.Parallel()
			c := newRig(t, program, m).cell(t, pair[0], options{priority: high, nopreempt: true}, pair[1], options{priority: low, nopreempt: true})
			begun := time.Now()
			c.b.start(t)
			c.settled(t, c.b, begun)
			begun = time.Now()
			c.a.start(t)
			c.stays(t, c.b, begun)

			begun = time.Now()
			if err := c.b.at().link.Down(); err != nil {
				t.Fatal(err)
			}
			c.settled(t, c.a, begun)
			begun = time.Now()
			if err := c.b.at().link.Up(); err != nil {
				t.Fatal(err)
			}
			c.stays(t, c.a, begun)
		})
	}
}

// stays waits for longer than a preemption would take, and p was the only master.
// FRR may have its say once when its link is back, because it did not cease to be
// Active without it.
func (c *cell) stays(t *testing.T, p peer, since time.Time) {
	t.Helper()
	const enough = 10 // intervals; a preemption takes less than 4
	await(t, "the master advertises", 20*c.mode.every()+10*time.Second, func() bool {
		n := 0
		for _, a := range c.adverts(since) {
			if _, exempt := c.peerOf(a.from).(*frr); a.from != p.at() && !exempt {
				t.Fatalf("%s advertises with priority %d, %s should alone", a.from.name, a.priority, p.at().name)
			}
			n++
		}
		return n >= enough
	})
	c.settled(t, p, since)
}

// TestPreemptDelay leaves a lower master alone for a while, then takes over.
func TestPreemptDelay(t *testing.T) {
	t.Parallel()
	const delay = 2 * time.Second
	c := newCell(t, compiled(t), named("v3 IPv4"), "lvskit", "lvskit")
	ours := c.a.(*lvskit)
	ours.opts.extra = []string{"-preempt-delay", delay.String()}
	begun := time.Now()
	c.b.start(t)
	c.settled(t, c.b, begun)
	begun = time.Now()
	c.a.start(t)
	c.settled(t, c.a, begun)
	for _, a := range c.adverts(begun) {
		if took := a.at.Sub(begun); a.from == c.a.at() {
			if took < delay {
				t.Errorf("it took over after %v, want %v", took, delay)
			}
			break
		}
	}
}
