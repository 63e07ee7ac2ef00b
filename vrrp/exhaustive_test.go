package vrrp

import (
	"flag"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/need"
)

var exhaustiveDeep = flag.Bool("exhaustive-deep", false, "explore the large cases too")

// step3 is how a state was reached.
type step3 struct {
	from uint64
	by   move
}

// explore visits all states, breadth first, until one is wrong.
func explore(t *testing.T, first *trio) {
	t.Helper()
	var h maphash.Hash
	var buf []byte
	k, buf := first.key(&h, buf)
	seen := map[uint64]step3{k: {}}
	queue := []*trio{first}
	keys := []uint64{k}
	for len(queue) > 0 {
		s, from := queue[0], keys[0]
		queue, keys = queue[1:], keys[1:]
		for _, v := range s.moves() {
			next := s.clone()
			next.make(v)
			k, buf = next.key(&h, buf)
			if _, ok := seen[k]; ok {
				continue
			}
			seen[k] = step3{from, v}
			if wrong := next.wrong(s, v); wrong != "" {
				t.Fatalf("%s, after %s", wrong, history(seen, k))
			}
			queue, keys = append(queue, next), append(keys, k)
		}
	}
	t.Logf("%d states", len(seen))
}

// history is the way to a state.
func history(seen map[uint64]step3, k uint64) string {
	var all []string
	for at := seen[k]; at != (step3{}); at = seen[at.from] {
		all = append(all, at.by.String())
	}
	slices.Reverse(all)
	return strings.Join(all, ", ")
}

// wrong says what is wrong with a state that was reached from another one.
func (s *trio) wrong(before *trio, v move) string {
	if s.flood {
		return fmt.Sprintf("%d floods", v.who)
	}
	for i := range s.ms {
		spare := uint8(0) // an advertisement that comes as the timer fires may be too late
		if skew(V3, s.ms[i].priority, interval) > quantum {
			spare = 1
		}
		if s.up[i] && s.ms[i].state == Active && before.ms[i].state != Active && s.lost <= spare && s.slept == 0 {
			if k := s.displaced(i); k >= 0 {
				return fmt.Sprintf("%d displaces %d, which lives", i, k)
			}
		}
	}
	if v.kind == advance {
		return s.converges()
	}
	return ""
}

// displaced is an Active router that i must not displace: a better one, or with
// NoPreempt any, that runs and has been Active for long enough to be heard in
// spite of one loss.
func (s *trio) displaced(i int) int {
	m := &s.ms[i]
	for k := range s.ms {
		other := &s.ms[k]
		if k == i || !s.up[k] || s.paused[k] || other.state != Active || other.reign.since > -2*interval-quantum {
			continue
		}
		if other.priority > m.priority || m.cfg.NoPreempt {
			return k
		}
	}
	return -1
}

// converges: from here on nothing is lost or late. After a Down interval and a
// grace there is one Active router, and without NoPreempt it is the best.
func (s *trio) converges() string {
	c := s.clone()
	for i := range int8(3) {
		c.wake(i)
	}
	const patience, stays = 20, 5
	for n := range patience + stays {
		c.settle()
		if n >= patience {
			if wrong := c.verdict(); wrong != "" {
				return wrong
			}
		}
		c.pass()
	}
	return ""
}

// settle is the rest of a quantum: what is on its way arrives, then timers fire,
// until there is nothing to do.
func (s *trio) settle() {
	for range 50 {
		quiet := true
		for i := range int8(3) {
			for j := range int8(3) {
				for s.air[i][j].n > 0 && s.up[j] {
					s.receive(move{who: i, dst: j})
					quiet = false
				}
			}
		}
		for i := range s.ms {
			if at, ok := s.ms[i].deadline(); quiet && ok && at <= 0 && s.up[i] {
				s.step(i, input{kind: inTick})
				quiet = false
			}
		}
		if quiet {
			return
		}
	}
}

func (s *trio) verdict() string {
	active, best, alive := -1, -1, 0
	for i := range s.ms {
		m := &s.ms[i]
		if !s.up[i] {
			continue
		}
		alive++
		if m.state == Active {
			if active >= 0 {
				return "two stay Active"
			}
			active = i
		}
		if best < 0 || m.priority > s.ms[best].priority {
			best = i
		}
	}
	switch {
	case alive > 0 && active < 0:
		return "nobody becomes Active"
	case alive > 0 && s.ms[active].priority < s.ms[best].priority && !s.ms[best].cfg.NoPreempt:
		return fmt.Sprintf("%d stays Active, %d is better", active, best)
	}
	return ""
}

// size is how many states a case has.
type size uint8

const (
	small  size = iota // tens of thousands
	medium             // hundreds of thousands
	large              // millions
)

// TestExhaustive visits all that can happen to three routers: every order of
// events, every delay up to a quarter of an interval, every overtaking, and each
// loss, crash, restart and pause that the case allows.
func TestExhaustive(t *testing.T) {
	if need.Emulated() {
		t.Skip("it does not depend on the kernel")
	}
	for _, c := range []struct {
		name                  string
		priorities            [3]uint8
		noPreempt             bool
		losses, crash, pauses uint8
		size                  size
	}{
		{"preempt, a loss and a crash", [3]uint8{64, 128, 192}, false, 1, 1, 0, medium},
		{"preempt, a loss and a pause", [3]uint8{64, 128, 192}, false, 1, 0, 1, medium},
		{"preempt, a pause and a crash", [3]uint8{64, 128, 192}, false, 0, 1, 1, large},
		{"preempt, two losses and a crash", [3]uint8{64, 128, 192}, false, 2, 1, 0, large},
		{"no preempt, a loss and a crash", [3]uint8{64, 128, 192}, true, 1, 1, 0, medium},
		{"no preempt, a pause", [3]uint8{64, 128, 192}, true, 0, 0, 1, small},
		{"no preempt, a pause and a crash", [3]uint8{64, 128, 192}, true, 0, 1, 1, large},
		{"equal priorities, a crash", [3]uint8{128, 128, 128}, false, 0, 1, 0, medium},
		{"equal priorities, a loss and a pause", [3]uint8{128, 128, 128}, false, 1, 0, 1, large},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.size == large && !*exhaustiveDeep || c.size == medium && thin() {
				t.Skip("a large case: -exhaustive-deep, without -race and -short")
			}
			s := newTrio(c.priorities, c.noPreempt)
			s.losses, s.crash, s.pauses = c.losses, c.crash, c.pauses
			explore(t, s)
		})
	}
}
