package nat

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// BenchmarkPlan compares lists of rules: equal ones, as at each turn of a control
// loop, ones that differ in one rule, ones that have nothing in common, and one that
// is to be made; of published ports, which have no order, and of rules that have.
func BenchmarkPlan(b *testing.B) {
	const n = 10_000
	for _, kind := range []struct {
		name  string
		rules func(set int) []Rule
	}{
		{"published", func(set int) []Rule { return planRules(n, set, netip.Prefix{}) }},
		{"ordered", func(set int) []Rule { return planRules(n, set, netip.MustParsePrefix("10.0.0.0/8")) }},
	} {
		want, other := kind.rules(0), kind.rules(1)
		reversed, one := slices.Clone(want), slices.Clone(want)
		slices.Reverse(reversed)
		one[n/2] = other[n/2]
		for _, bench := range []struct {
			name    string
			have    []Rule
			changes int
		}{
			{"equal", want, 0},
			{"one", one, 2},
			{"other", other, 2 * n},
			{"new", nil, n},
		} {
			b.Run(fmt.Sprintf("%s/%s/%d", kind.name, bench.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					changes, err := Plan(bench.have, want)
					if err != nil || len(changes) != bench.changes {
						b.Fatal(len(changes), err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("%s/reversed/%d", kind.name, n), func(b *testing.B) {
			for b.Loop() {
				changes, err := Plan(reversed, want)
				if err != nil || want[0].Exact() != (len(changes) == 0) {
					b.Fatal(len(changes), err)
				}
			}
		})
	}
}

// planRules are n rules, exact ones if they are for everybody.
func planRules(n, set int, source netip.Prefix) []Rule {
	rules := make([]Rule, n)
	for i := range rules {
		rules[i] = Rule{
			Name: "web", Action: DNAT, Protocol: TCP, Source: source,
			Destination: prefixOf(netip.AddrFrom4([4]byte{12, 0, 0, 1})), DestinationPort: Port(uint16(1000 + set*n + i)),
			To: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), ToPort: Port(8080),
		}
	}
	return rules
}
