package main

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// priorities of the two routers of a cell.
const (
	high = 200
	low  = 100
)

// cell is a pair of routers.
type cell struct {
	*rig
	a, b peer
}

// newCell puts two routers on a rig of their own, a with the higher priority.
func newCell(t *testing.T, program string, m mode, a, b string) *cell {
	t.Helper()
	return newRig(t, program, m).cell(t, a, options{priority: high}, b, options{priority: low})
}

// cell puts routers on the nodes.
func (r *rig) cell(t testing.TB, a string, ofA options, b string, ofB options) *cell {
	t.Helper()
	return &cell{r, kinds[a](t, r, r.nodes[0], ofA), kinds[b](t, r, r.nodes[1], ofB)}
}

// settled waits until p alone is Active, and sees it as the client does: the
// neighbour entry that it has follows, connections reach p, one MAC answers, and
// the other node does not hold the address.
func (c *cell) settled(t *testing.T, p peer, since time.Time) {
	t.Helper()
	c.follows(t, p, since)
	other := c.peerOf(c.other(p.at()))
	if _, standing := other.(*frr); !standing {
		await(t, other.at().name+" holds no virtual address", 2*time.Second, func() bool { return !other.at().holds(t, c.mode.vips...) })
	}
	got, want := c.whoAnswers(t), []string{p.mac().String()}
	if _, slow := other.(*frr); slow { // its device goes some time after it has become Backup
		await(t, p.at().name+" alone answers", 2*time.Second, func() bool { got = c.whoAnswers(t); return slices.Equal(got, want) })
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s was answered by %v, want %v alone", c.mode.service(), got, want)
	}
	if _, ours := other.(*lvskit); ours {
		all := c.adverts(since)
		if n := c.claims(other.at(), all[len(all)-1].at); n > 0 {
			t.Errorf("%s has announced a virtual address %d times although it is not Active", other.at().name, n)
		}
	}
}

// follows is settled without what a dead process may have left on the other node.
func (c *cell) follows(t *testing.T, p peer, since time.Time) {
	t.Helper()
	c.sole(t, p.at(), since)
	c.reaches(t, p, c.patient(p))
}

func (c *cell) reaches(t *testing.T, p peer, within time.Duration) {
	t.Helper()
	await(t, "the client reaches "+p.at().name, within, func() bool {
		return c.ask(t) == p.at().name && c.neighbour(t) == p.mac().String()
	})
}

// patient is how long the client may take to follow to p. keepalived announces
// itself again 5 s after it has become Active, FRR never: after a dispute the
// client must find out by its own probing.
func (c *cell) patient(p peer) time.Duration {
	switch p.(type) {
	case *frr:
		return 30 * time.Second
	case *keepalived:
		return 15 * time.Second
	}
	return 4 * time.Second
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
		c.comesBack(t, func(t testing.TB) { c.a.signal(t, syscall.SIGCONT) })
	})
	step("link cut and restored", func(t *testing.T) {
		begun := time.Now()
		if err := c.a.at().link.Down(); err != nil {
			t.Fatal(err)
		}
		c.died(t, "take-over from the cut off", begun)
		c.comesBack(t, func(t testing.TB) {
			if err := c.a.at().link.Up(); err != nil {
				t.Fatal(err)
			}
		})
	})
	step("priority changed", func(t *testing.T) {
		begun := time.Now()
		c.a.prioritize(t, low/2)
		c.settled(t, c.b, begun)
		c.comesBack(t, func(t testing.TB) { c.a.prioritize(t, high) })
	})
}

// comesBack lets a come back, and it is the master again.
func (c *cell) comesBack(t *testing.T, how func(testing.TB)) {
	t.Helper()
	begun := time.Now()
	how(t)
	c.settled(t, c.a, begun)
}

// pairs are who runs against whom; the first has the higher priority.
var pairs = [][2]string{
	{"lvskit", "keepalived"},
	{"keepalived", "lvskit"},
	{"lvskit", "frr"},
	{"frr", "lvskit"},
	{"lvskit", "lvskit"},
}

// of is the mode for a pair of routers; ok is false if one does not speak it.
func (m mode) of(pair [2]string) (of mode, ok bool) {
	if !slices.Contains(pair[:], "frr") {
		// keepalived 2.2.7 is silent for too long while it announces hundreds.
		return m, len(m.vips) < 100 || !slices.Contains(pair[:], "keepalived")
	}
	if m.ipv6 {
		m.vips = m.vips[1:] // its device has a link-local address of its own only
	}
	return m, !m.unicast && m.auth == "" && len(m.vips) < 100
}

// few are the cells that the emulated machine has time for.
var few = []string{
	"lvskit keepalived v3 IPv4", "lvskit keepalived v2 PASS", "keepalived lvskit v3 IPv4 unicast",
	"frr lvskit v3 IPv6", "lvskit lvskit v3 IPv6 virtual MAC",
}

// left tells whether a cell is left out.
func left(a, b string, m mode) bool {
	return need.Emulated() && !slices.Contains(few, a+" "+b+" "+m.name)
}

// TestMatrix runs every pair in every mode that both speak.
func TestMatrix(t *testing.T) {
	t.Parallel()
	program := compiled(t)
	rig := [][2]string{{"keepalived", "keepalived"}, {"keepalived", "frr"}} // proves the rig itself
	for _, m := range modes {
		for _, pair := range append(rig, pairs...) {
			m, ok := m.of(pair)
			if !ok || left(pair[0], pair[1], m) || slices.Contains(rig, pair) && m.name != "v3 IPv4" {
				continue
			}
			t.Run(pair[0]+" over "+pair[1]+"/"+m.name, func(t *testing.T) {
				t.Parallel()
				newCell(t, program, m, pair[0], pair[1]).life(t)
			})
		}
	}
}
