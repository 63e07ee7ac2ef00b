package main

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// priorities of the two routers of a cell.
const (
	high = 200
	low  = 100
)

// cell is a pair of routers: a has the higher priority.
type cell struct {
	*rig
	a, b peer
}

func newCell(t *testing.T, m mode, a, b string) *cell {
	t.Helper()
	r := newRig(t, m)
	return &cell{r, kinds[a](t, r, r.nodes[0], options{priority: high}), kinds[b](t, r, r.nodes[1], options{priority: low})}
}

// settled waits until p alone is Active, and sees it as the client does: the
// neighbour entry that it has follows, connections reach p, one MAC answers, and
// the other node does not hold the address.
func (c *cell) settled(t *testing.T, p peer, since time.Time) {
	t.Helper()
	c.follows(t, p, since)
	if got, want := c.whoAnswers(t), []string{p.mac().String()}; !slices.Equal(got, want) {
		t.Errorf("%s was answered by %v, want %v alone", c.mode.service(), got, want)
	}
	if _, standing := c.peerOf(c.other(p.at())).(*frr); !standing && c.other(p.at()).holds(t, c.mode.vips...) {
		t.Errorf("%s holds a virtual address and is not Active", c.other(p.at()).name)
	}
}

// follows is settled for as long as the other node has died with the address.
func (c *cell) follows(t *testing.T, p peer, since time.Time) {
	t.Helper()
	c.sole(t, p.at(), vrid, since)
	await(t, "the client's neighbour entry follows to "+p.at().name, 10*time.Second, func() bool {
		return c.neighbour(t) == p.mac().String() || c.neighbour(t) == "" // never asked yet
	})
	await(t, "connections reach "+p.at().name, 10*time.Second, func() bool { return c.ask(t) == p.at().name })
}

func (c *cell) peerOf(n *node) peer {
	if c.a.at() == n {
		return c.a
	}
	return c.b
}

// within compares the time without a master with the protocol's bound.
func (c *cell) within(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	t.Logf("%s: %v between the last advertisement of the old and the first of the new master, bound %v", what, got.Round(100*time.Microsecond), most)
	if got < least-10*time.Millisecond || got > most+room() {
		t.Errorf("%s took %v, want %v to %v (and %v room)", what, got, least, most, room())
	}
}

// died checks a take-over after silence.
func (c *cell) died(t *testing.T, what string, since time.Time) {
	t.Helper()
	c.follows(t, c.b, since)
	gap, _ := c.gap(t, c.a.at(), c.b.at(), since)
	c.within(t, what, gap, 3*c.mode.every(), 3*c.mode.every()+c.mode.skew(low))
}

// life takes a pair through all that can happen to a master.
func (c *cell) life(t *testing.T) {
	step := func(name string, fn func(t *testing.T)) {
		if !t.Failed() {
			t.Run(name, fn)
		}
	}
	step("the lower priority is alone", func(t *testing.T) {
		begun := time.Now()
		c.b.start(t)
		c.settled(t, c.b, begun)
	})
	step("the higher preempts", func(t *testing.T) { c.comesBack(t, c.a.start) })
	step("SIGTERM", func(t *testing.T) {
		begun := time.Now()
		c.a.signal(t, syscall.SIGTERM)
		c.settled(t, c.b, begun)
		c.a.ended(t)
		gap, last := c.gap(t, c.a.at(), c.b.at(), begun)
		if last != 0 {
			t.Errorf("the last advertisement has priority %d, want 0", last)
		}
		c.within(t, "hand-over", gap, 0, c.mode.skew(low))
		c.comesBack(t, c.a.start)
	})
	step("SIGKILL", func(t *testing.T) {
		begun := time.Now()
		c.a.signal(t, syscall.SIGKILL)
		c.died(t, "take-over from the killed", begun)
		c.a.ended(t)
		c.comesBack(t, c.a.start)
	})
	step("SIGSTOP", func(t *testing.T) {
		begun := time.Now()
		c.a.signal(t, syscall.SIGSTOP)
		c.died(t, "take-over from the stalled", begun)
		c.comesBack(t, func(t *testing.T) { c.a.signal(t, syscall.SIGCONT) })
	})
	step("link cut and restored", func(t *testing.T) {
		begun := time.Now()
		if err := c.a.at().link.Down(); err != nil {
			t.Fatal(err)
		}
		c.died(t, "take-over from the cut off", begun)
		c.comesBack(t, func(t *testing.T) {
			if err := c.a.at().link.Up(); err != nil {
				t.Fatal(err)
			}
		})
	})
	step("priority changed", func(t *testing.T) {
		begun := time.Now()
		c.a.prioritize(t, low/2)
		c.settled(t, c.b, begun)
		c.comesBack(t, func(t *testing.T) { c.a.prioritize(t, high) })
	})
}

// comesBack lets a come back, and it is the master again.
func (c *cell) comesBack(t *testing.T, how func(*testing.T)) {
	t.Helper()
	begun := time.Now()
	how(t)
	c.settled(t, c.a, begun)
}

// TestMatrix runs every pair in every mode that both speak.
func TestMatrix(t *testing.T) {
	for _, pair := range [][2]string{
		{"frr", "keepalived"},
	} {
		for _, m := range modes {
			if slices.Contains(pair[:], "frr") {
				if m.unicast || m.auth != "" || m.virtual {
					continue // it has none of these, but its own virtual MAC always
				}
				if m.ipv6 {
					m.vips = m.vips[1:] // its device has a link-local address of its own only
				}
			}
			t.Run(pair[0]+" over "+pair[1]+"/"+m.name, func(t *testing.T) {
				t.Parallel()
				newCell(t, m, pair[0], pair[1]).life(t)
			})
		}
	}
}
