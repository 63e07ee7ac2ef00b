package main

import (
	"slices"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// twoModes are enough where the protocol is the same in all others.
var twoModes = []string{"v3 IPv4", "v3 IPv6"}

// TestEqualPriorities lets addresses decide, but only between two masters.
func TestEqualPriorities(t *testing.T) {
	t.Parallel()
	need.Program(t, "nft")
	program := compiled(t)
	everyPair(t, twoModes, func(t *testing.T, m mode, a, b string) {
		c := newRig(t, program, m).cell(t, a, options{priority: low}, b, options{priority: low})
		begun := time.Now()
		c.a.start(t)
		c.settled(t, c.a, begun)
		begun = time.Now()
		c.b.start(t)
		c.settled(t, c.a, begun) // a living master stays, whatever its address

		begun = time.Now()
		c.part(t)
		c.both(t, begun)
		winner, loser := c.a, c.b
		if c.sourceOf(t, c.b.at()).Compare(c.sourceOf(t, c.a.at())) > 0 {
			winner, loser = c.b, c.a
		}
		begun = time.Now()
		c.hears(t, winner.at())
		await(t, "the winner tells of two masters", 5*time.Second, winner.tells("two active"))
		c.hears(t, loser.at())
		c.sole(t, winner.at(), begun)
		await(t, "the winner tells that it is over", 5*time.Second, winner.tells("healed"))
		c.back(t, winner, begun)
	})
}

// TestPartition cuts the protocol, not the link: two masters, of which the one
// with the higher priority is left. The other one hears it first, because it
// speaks rarely, and gives way; if it does so without a word, the winner never
// knows that its announcement was overruled.
func TestPartition(t *testing.T) {
	t.Parallel()
	need.Program(t, "nft")
	program := compiled(t)
	everyPair(t, twoModes, func(t *testing.T, m mode, a, b string) {
		c := newRig(t, program, m).cell(t, a, options{priority: high}, b, options{priority: low, interval: 10 * m.every()})
		begun := time.Now()
		c.a.start(t)
		c.b.start(t)
		c.settled(t, c.a, begun)
		quiet := 6 * time.Second // all repeat their announcements for 5 s
		await(t, "a announces no more", 30*time.Second, func() bool { return c.claims(c.a.at(), time.Now().Add(-quiet)) == 0 })
		begun = time.Now()
		c.part(t)
		c.both(t, begun)
		begun = time.Now()
		c.first(t, c.b.at(), begun)
		c.hears(t, c.a.at())
		begun = time.Now()
		c.hears(t, c.b.at())
		c.back(t, c.a, begun)
	})
}

// back waits until the client is at the winner of a split.
func (c *cell) back(t *testing.T, winner peer, since time.Time) {
	t.Helper()
	c.sole(t, winner.at(), since)
	limit := c.patient(winner)
	if _, ours := c.peerOf(c.other(winner.at())).(*lvskit); !ours {
		limit = 30 * time.Second // until the client's own probing ends the matter
	}
	c.reaches(t, winner, limit)
	t.Logf("the client is at %s %v after the end of the split", winner.at().name, time.Since(since).Round(time.Millisecond))
	c.settled(t, winner, since)
}

// everyPair runs fn for our pairs in some modes.
func everyPair(t *testing.T, names []string, fn func(t *testing.T, m mode, a, b string)) {
	t.Helper()
	for _, pair := range pairs {
		for _, name := range names {
			m, ok := named(name).of(pair)
			if !ok || left(pair[0], pair[1], m) {
				continue
			}
			// Beside FRR, whose device takes frames for the virtual MAC in Backup too,
			// ours must have it as well, or clients may stay there for ever.
			m.virtual = slices.Contains(pair[:], "frr")
			t.Run(pair[0]+" and "+pair[1]+"/"+name, func(t *testing.T) {
				t.Parallel()
				fn(t, m, pair[0], pair[1])
			})
		}
	}
}

// named is the mode of a name.
func named(name string) mode {
	for _, m := range modes {
		if m.name == name {
			return m
		}
	}
	panic("no mode " + name)
}

// part makes the nodes deaf to VRRP, as a filter for protocol 112 does.
func (r *rig) part(t *testing.T) {
	t.Helper()
	for _, n := range r.nodes {
		labtest.Run(t, n.host, "nft", "add table inet deaf; add chain inet deaf in { type filter hook input priority 0; }; "+
			"add rule inet deaf in meta l4proto { 51, 112 } drop")
	}
}

// hears ends part for a node.
func (r *rig) hears(t *testing.T, n *node) {
	t.Helper()
	labtest.Run(t, n.host, "nft", "delete table inet deaf")
}

// both waits until both nodes advertise.
func (r *rig) both(t *testing.T, since time.Time) {
	t.Helper()
	await(t, "both are masters", 50*r.mode.every()+10*time.Second, func() bool {
		n := map[*node]int{}
		for _, a := range r.adverts(since) {
			if a.priority > 0 {
				n[a.from]++
			}
		}
		return n[r.nodes[0]] >= inRow && n[r.nodes[1]] > 0
	})
}
