package nat

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// Of any rules, edited into any others, nothing is left, and all are in the order that
// was wanted.
func TestIPTablesEditsAnyRulesIntoAnyOthers(t *testing.T) {
	rounds := 30
	if need.Emulated() {
		rounds = 3
	}
	all := rules(t, ofEveryKind...)
	for i := range 12 {
		all = append(all, rules(t,
			fmt.Sprintf("dnat e%d: tcp destination 12.0.0.9:%d to 192.168.160.%d:80 hairpin 192.168.%d.0/24", i, 1000+i, i+1, 160+i%3),
			fmt.Sprintf("dnat o%d: tcp source 10.0.%d.0/24 destination 12.0.0.9:80 to 192.168.160.%d:80", i, i, i+1),
			fmt.Sprintf("snat s%d: source 10.0.%d.0/24 out eth1 to 12.0.0.%d", i, i, i+1),
			fmt.Sprintf("masquerade m%d: source fd00:%d::/64 out eth1", i, i+1),
		)...)
	}
	all = normal(all)
	for _, b := range variants {
		t.Run(b.String(), func(t *testing.T) {
			table := tableOn(t, labtest.Host(t, labtest.New(t), "gateway"), b)
			rnd := rand.New(rand.NewPCG(6, uint64(b)))
			var have []Rule
			for range rounds {
				want := someOf(rnd, all, have)
				_, err := table.Apply(t.Context(), want)
				must(t, err)
				s, err := table.b.read(t.Context())
				must(t, err)
				if s.there && !s.sound || s.there != (len(want) > 0) {
					t.Fatalf("there %v, sound %v, with %d rules", s.there, s.sound, len(want))
				}
				for class := range classes {
					got, wanted := ofClass(s.list(), class), ofClass(want, class)
					if !slices.Equal(got, wanted) {
						t.Fatalf("class %d of\n%s\nis\n%s\nwas\n%s", class, lines(wanted), lines(got), lines(ofClass(have, class)))
					}
				}
				have = want
			}
		})
	}
}

// someOf is what was there with some removed, added and moved; or anything.
func someOf(rnd *rand.Rand, all, have []Rule) []Rule {
	want := slices.Clone(have)
	if len(have) == 0 || rnd.IntN(6) == 0 {
		want = slices.Clone(all)
		rnd.Shuffle(len(want), func(i, j int) { want[i], want[j] = want[j], want[i] })
		return want[:rnd.IntN(len(want))]
	}
	for range rnd.IntN(6) {
		r := all[rnd.IntN(len(all))]
		if i := slices.Index(want, r); i >= 0 {
			want = slices.Delete(want, i, i+1)
		}
		if rnd.IntN(3) > 0 {
			want = slices.Insert(want, rnd.IntN(len(want)+1), r)
		}
	}
	return want
}

// ofClass are the rules of a class: the exact ones in an order of their own.
func ofClass(list []Rule, class int) (out []Rule) {
	var exact []Rule
	for _, r := range list {
		switch {
		case r.class() != class:
		case r.Exact():
			exact = append(exact, r)
		default:
			out = append(out, r)
		}
	}
	slices.SortFunc(exact, func(a, b Rule) int { return strings.Compare(a.String(), b.String()) })
	return append(exact, out...)
}
