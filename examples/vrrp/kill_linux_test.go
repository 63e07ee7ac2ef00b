package main

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// kills is how often each pair is killed.
func kills() int {
	if need.Emulated() {
		return 3
	}
	return 25
}

// TestKilledMasterIsCleanedUpByItsNextStart kills the Active router, and the one
// that takes over at a random moment after its first advertisement, so that both
// have left addresses. Started again, one becomes Active, and the other must not
// have them any more.
func TestKilledMasterIsCleanedUpByItsNextStart(t *testing.T) {
	t.Parallel()
	program := compiled(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i, name := range []string{"v3 IPv4", "v3 IPv6 virtual MAC"} {
		m, random := named(name), rand.New(rand.NewPCG(seed, uint64(i)))
		if left("lvskit", "lvskit", m) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keep := options{priority: low, nopreempt: true}
			c := newRig(t, program, m).cell(t, "lvskit", keep, "lvskit", keep)
			before := map[*node]string{c.a.at(): c.a.at().network(t), c.b.at(): c.b.at().network(t)}
			active, backup := c.a, c.b
			c.startBoth(t, active, backup)
			for range kills() {
				begun := time.Now()
				c.kill(t, active) // in the middle of its reign
				c.first(t, backup.at(), begun)
				moment := time.Now().Add(time.Duration(random.Int64N(int64(2 * m.every()))))
				await(t, "the moment has come", time.Minute, func() bool { return time.Now().After(moment) })
				c.kill(t, backup) // while it puts the addresses in place, or just after
				active, backup = backup, active
				c.startBoth(t, active, backup)
			}
			for _, p := range []peer{backup, active} {
				p.signal(t, syscall.SIGTERM)
				p.ended(t)
				if after := p.at().network(t); after != before[p.at()] {
					t.Errorf("%s had\n%s\nand is left with\n%s", p.at().name, before[p.at()], after)
				}
				c.nothingNoted(t, p.(*lvskit))
			}
		})
	}
}

// startBoth starts one, which becomes Active, and then the other, which does not.
func (c *cell) startBoth(t *testing.T, active, backup peer) {
	t.Helper()
	begun := time.Now()
	active.start(t)
	c.sole(t, active.at(), begun)
	begun = time.Now()
	backup.start(t)
	await(t, backup.at().name+" has removed what it left", 5*time.Second, func() bool { return !backup.at().holds(t, c.mode.vips...) })
	c.settled(t, active, begun)
}

func (c *cell) kill(t *testing.T, p peer) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	p.ended(t)
}

// first waits for the first advertisement of a node.
func (c *cell) first(t *testing.T, n *node, since time.Time) {
	t.Helper()
	await(t, n.name+" has taken over", 10*c.mode.every()+10*time.Second, func() bool {
		return slices.ContainsFunc(c.adverts(since), func(a advert) bool { return a.from == n })
	})
}

// nothingNoted looks for notes that the program left.
func (c *cell) nothingNoted(t *testing.T, p *lvskit) {
	t.Helper()
	files, err := os.ReadDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != "priority" {
			t.Errorf("%s has left %s", p.node.name, f.Name())
		}
	}
}

// network is what the program may change of a node: interfaces and addresses.
func (n *node) network(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(n.links(t)) {
		if _, text, ok := strings.Cut(line, ": "); ok { // without the number
			out.WriteString(text)
		}
	}
	return out.String()
}
