package nat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// BenchmarkRules changes and lists 10,000 published ports, beside programs and
// libraries that can do that too, each in a network namespace of its own. They run in
// turn; what is reported are medians, and how many times ours they are. "cpu-ms"
// is the processor time of all processes.
//
//	load         10,000 ports where there were none
//	replace      all by 10,000 others
//	unchanged    the same again, by a declared state
//	change one   one of them is another one, by a declared state
//	add          one more, just after all were replaced
//	add another  one more after that
//	remove       one
//	list         all with their counters
func BenchmarkRules(b *testing.B) {
	n := benchCount(10_000)
	all := enlist(b, hosts(b))
	declaring := slices.DeleteFunc(slices.Clone(all), func(c *contestant) bool { return !strings.HasPrefix(c.name, "lvskit-") })
	first, second := benchPorts(n, 0), benchPorts(n, 1)
	extra := benchPorts(n+1, 2)[n]
	var board scoreboard
	board.apply(b, "load", quick(all), nil, first)
	board.apply(b, "replace", quick(all), first, second)
	board.apply(b, "unchanged", declaring, first, first)
	board.apply(b, "change one", declaring, first, append(slices.Clone(first[1:]), extra))
	board.race(b, "add", all, second, func(b *testing.B, c *contestant) cost {
		if !c.slow {
			must(b, c.replace(first)())
		}
		defer func() { must(b, c.remove(extra)()) }()
		return clock(b, c.add(extra))
	})
	board.race(b, "add another", all, first, func(b *testing.B, c *contestant) cost {
		must(b, c.add(extra)())
		must(b, c.remove(extra)())
		defer func() { must(b, c.remove(extra)()) }()
		return clock(b, c.add(extra))
	})
	board.race(b, "remove", all, first, func(b *testing.B, c *contestant) cost {
		must(b, c.add(extra)())
		return clock(b, c.remove(extra))
	})
	board.race(b, "list", all, first, func(b *testing.B, c *contestant) cost {
		return clock(b, func() error { c.has(b, n); return nil })
	})
	fmt.Print(board.String())
}

// race lets contestants that have some rules do the same in turn.
func (s *scoreboard) race(b *testing.B, discipline string, who []*contestant, have []Rule, run func(*testing.B, *contestant) cost) {
	b.Run(discipline, func(b *testing.B) {
		for b.Loop() {
			for range *benchRounds {
				for _, c := range who {
					if !c.slow { // the others share a chain with one of these
						must(b, c.replace(have)())
					}
					s.cost(discipline, c.name, run(b, c), 1)
				}
			}
		}
		s.report(b, discipline)
	})
}

// apply is the race from some rules to others.
func (s *scoreboard) apply(b *testing.B, discipline string, who []*contestant, have, want []Rule) {
	s.race(b, discipline, who, have, func(b *testing.B, c *contestant) cost {
		defer c.has(b, len(want))
		return clock(b, c.replace(want))
	})
}

// has complains unless a contestant lists n rules.
func (c *contestant) has(b *testing.B, n int) {
	b.Helper()
	if got, err := c.list(); err != nil || got != n {
		b.Fatalf("%s lists %d rules, want %d: %v", c.name, got, n, err)
	}
}

// BenchmarkOneByOne adds 300 ports, where there were none, in 300 calls, and in
// one, if there is one for many. The times are those of a port.
func BenchmarkOneByOne(b *testing.B) {
	const n = 300
	all := enlist(b, hosts(b))
	rules := benchPorts(n, 0)
	var board scoreboard
	for b.Loop() {
		for _, c := range all {
			must(b, c.replace(nil)())
			board.cost("300 calls", c.name, clock(b, func() error {
				for _, r := range rules {
					if err := c.add(r)(); err != nil {
						return err
					}
				}
				return nil
			}), n)
			c.has(b, n)
			must(b, c.replace(nil)())
			if !c.slow {
				board.cost("one call", c.name, clock(b, c.replace(rules)), n)
			}
		}
	}
	board.report(b, "300 calls")
	fmt.Print(board.String())
}
