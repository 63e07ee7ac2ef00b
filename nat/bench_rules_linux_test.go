package nat

import (
	"fmt"
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
//	one of all one is another, by a declared state
//	add        one more
//	remove     that one
//	list       all with their counters
func BenchmarkRules(b *testing.B) {
	n := benchCount(10_000)
	all := enlist(b, hosts(b))
	sets := [][]Rule{benchPorts(n, 0), benchPorts(n, 1)}
	extra := benchPorts(n+1, 2)[n]
	var board scoreboard
	race := func(discipline string, of func(name string) bool, run func(b *testing.B, c *contestant, round int)) {
		b.Run(discipline, func(b *testing.B) {
			for b.Loop() {
				for round := range *benchRounds {
					for _, c := range all {
						if of(c.name) {
							run(b, c, round)
						}
					}
				}
			}
			board.report(b, discipline)
		})
	}
	replaces := func(name string) bool { return name != "go-iptables-nft" && name != "go-iptables-legacy" }
	declares := func(name string) bool { return len(name) > 6 && name[:6] == "lvskit" }
	everyone := func(string) bool { return true }
	race("load", replaces, func(b *testing.B, c *contestant, _ int) {
		must(b, c.replace(nil)())
		board.cost("load", c.name, clock(b, c.replace(sets[0])), 1)
		c.has(b, n)
	})
	race("replace", replaces, func(b *testing.B, c *contestant, round int) {
		if round == 0 {
			must(b, c.replace(sets[0])())
		}
		board.cost("replace", c.name, clock(b, c.replace(sets[(round+1)%2])), 1)
		c.has(b, n)
	})
	race("unchanged", declares, func(b *testing.B, c *contestant, _ int) {
		must(b, c.replace(sets[0])())
		board.cost("unchanged", c.name, clock(b, c.replace(sets[0])), 1)
	})
	race("one of all", declares, func(b *testing.B, c *contestant, _ int) {
		must(b, c.replace(sets[0])())
		changed := append(append([]Rule{}, sets[0][1:]...), extra)
		board.cost("one of all", c.name, clock(b, c.replace(changed)), 1)
	})
	race("add and remove", everyone, func(b *testing.B, c *contestant, round int) {
		if round == 0 && c.replace != nil {
			must(b, c.replace(sets[0])())
		}
		board.cost("add", c.name, clock(b, c.add(extra)), 1)
		board.cost("remove", c.name, clock(b, c.remove(extra)), 1)
	})
	race("list", everyone, func(b *testing.B, c *contestant, round int) {
		if round == 0 && c.replace != nil {
			must(b, c.replace(sets[0])())
		}
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
