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
//	load       10,000 ports where there were none
//	replace    10,000 others
//	unchanged  the same again, by a declared state
//	change one of them, by a declared state
//	add        one more
//	remove     that one
//	list       all with their counters
func BenchmarkRules(b *testing.B) {
	n := benchCount(10_000)
	all := enlist(b, hosts(b))
	declaring := slices.DeleteFunc(slices.Clone(all), func(c *contestant) bool { return !strings.HasPrefix(c.name, "lvskit-") })
	first, second := benchPorts(n, 0), benchPorts(n, 1)
	extra := benchPorts(n+1, 2)[n]
	var board scoreboard
	race := func(discipline string, who []*contestant, have []Rule, run func(b *testing.B, c *contestant)) {
		b.Run(discipline, func(b *testing.B) {
			for b.Loop() {
				for range *benchRounds {
					for _, c := range who {
						if !c.slow {
							must(b, c.replace(have)())
						}
						run(b, c)
					}
				}
			}
			board.report(b, discipline)
		})
	}
	apply := func(discipline string, who []*contestant, have, want []Rule) {
		race(discipline, who, have, func(b *testing.B, c *contestant) {
			board.cost(discipline, c.name, clock(b, c.replace(want)), 1)
			c.has(b, len(want))
		})
	}
	apply("load", quick(all), nil, first)
	apply("replace", quick(all), first, second)
	apply("unchanged", declaring, first, first)
	apply("change one", declaring, first, append(slices.Clone(first[1:]), extra))
	// Those that share a chain find it as the one before has left it.
	race("add", all, first, func(b *testing.B, c *contestant) {
		board.cost("add", c.name, clock(b, c.add(extra)), 1)
		board.cost("remove", c.name, clock(b, c.remove(extra)), 1)
		c.has(b, n)
	})
	race("list", all, first, func(b *testing.B, c *contestant) {
		board.cost("list", c.name, clock(b, func() error { c.has(b, n); return nil }), 1)
	})
	fmt.Print(board.String())
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
