package nat

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/need"
)

var (
	randomSets = flag.Int("sets", 0, "random sets of rules on each backend; 0: as many as are quick")
	randomSeed = flag.Uint64("seed", 0, "of the random sets; 0: another each time")
)

// sets is how many a test tries.
func sets(quick int) int {
	switch {
	case *randomSets > 0:
		return *randomSets
	case need.Emulated():
		return max(1, quick/40)
	}
	return quick
}

// newRandom has the seed in the log of a test that fails.
func newRandom(t *testing.T) random {
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return random{rand.New(rand.NewPCG(seed, seed))}
}

// From any rules to any others, by whatever way, packets do what they do where these
// rules are the first ones, and what the model says.
func TestRandomRules(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		r := newRandom(t)
		long, first := newWire(t), newWire(t)
		changing, fresh := long.table(b), first.table(b)
		var list []Rule
		for i := range sets(map[Backend]int{NFTables: 80, IPTablesNFT: 30, IPTablesLegacy: 30}[b]) {
			long.forget()
			first.forget()
			before := list
			if r.IntN(6) == 0 {
				spoiled := r.spoil(long, b)
				list = r.mutate(before)
				if _, err := changing.Apply(t.Context(), list); err != nil {
					t.Fatalf("after %s: %v\nrules:\n%s", spoiled, err, lines(list))
				}
			} else {
				list = r.next(t, changing, before)
			}
			must(t, fresh.Clear(t.Context()))
			first.apply(fresh, list)
			err := sameRules(t, changing, list)
			for range 20 {
				p := long.fresh(r.packet(list))
				err = cmp.Or(err, long.agree(list, p), wrap("after Clear", first.agree(list, p)))
			}
			if err != nil {
				t.Fatalf("set %d: %v\nrules:\n%sbefore them:\n%s", i, err, lines(list), lines(before))
			}
		}
	})
}

// spoil does what another may do to our rules, if there are any.
func (r random) spoil(w *wire, b Backend) string {
	command := pick(r,
		"nft flush chain inet lvskit destination", "nft flush chain inet lvskit source", "nft flush chain inet lvskit prerouting",
		"nft flush map inet lvskit published6", "nft insert rule inet lvskit destination accept", "nft delete table inet lvskit", "nft flush ruleset",
	)
	if b != NFTables {
		command = pick(r, "iptables", "ip6tables") + strings.TrimPrefix(b.String(), "iptables") + " -w -t nat " +
			pick(r, "-F LVSKIT-PRE", "-F LVSKIT-POST", "-F LVSKIT-PUB", "-D PREROUTING 1", "-I LVSKIT-OUT -j ACCEPT", "-I POSTROUTING -j ACCEPT", "-F")
	}
	w.shell(command+" || true", "")
	return command
}

func wrap(text string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", text, err)
}

// next makes the rules of the table others, and returns them.
func (r random) next(t *testing.T, table *Table, list []Rule) []Rule {
	t.Helper()
	if r.IntN(3) == 0 {
		return r.oneByOne(t, table, list)
	}
	switch r.IntN(8) {
	case 0:
		list = nil
	case 1, 2:
		list = r.ruleset(r.IntN(16))
	default:
		list = r.mutate(list)
	}
	if _, err := table.Apply(t.Context(), list); err != nil {
		t.Fatalf("%v\nrules:\n%s", err, lines(list))
	}
	return list
}

// oneByOne adds and removes rules.
func (r random) oneByOne(t *testing.T, table *Table, list []Rule) []Rule {
	t.Helper()
	list = slices.Clone(list)
	for range 1 + r.IntN(4) {
		if len(list) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(list))
			if err := table.Remove(t.Context(), list[i]); err != nil {
				t.Fatalf("%v\nrules:\n%s", err, lines(list))
			}
			list = slices.Delete(list, i, i+1)
			continue
		}
		rule := r.another(list)
		_, wrong := Plan(nil, append(slices.Clone(list), rule))
		err := table.Add(t.Context(), rule)
		if (err == nil) != (wrong == nil) {
			t.Fatalf("add %s: %v, but together: %v\nrules:\n%s", rule, err, wrong, lines(list))
		}
		if err == nil {
			list = append(list, rule)
		}
	}
	return list
}

// sameRules compares what List and Plan say with what ought to be there: rules that
// meet each other are in their order.
func sameRules(t *testing.T, table *Table, want []Rule) error {
	t.Helper()
	have := listed(t, table)
	got, wanted := byKind(have), byKind(want)
	for kind := range wanted {
		if !slices.Equal(got[kind], wanted[kind]) {
			return fmt.Errorf("%s: List says\n%s", kind, lines(have))
		}
	}
	if len(have) != len(want) {
		return fmt.Errorf("List says\n%s", lines(have))
	}
	if changes, err := table.Plan(t.Context(), want); err != nil || len(changes) > 0 {
		return fmt.Errorf("there is more to change: %v, %v", changes, err)
	}
	return nil
}

// listed is what List says, without counters.
func listed(t testing.TB, table *Table) []Rule {
	t.Helper()
	kept, err := table.List(t.Context())
	must(t, err)
	have := make([]Rule, len(kept))
	for i := range kept {
		have[i] = kept[i].Rule
	}
	return have
}

// byKind has apart the rules that never meet, and those that are published in one order.
func byKind(list []Rule) map[string][]Rule {
	kinds := map[string][]Rule{}
	for _, r := range list {
		r = r.normal()
		kinds[kind(r)] = append(kinds[kind(r)], r)
	}
	for kind, rules := range kinds {
		if publishing(rules[0]) {
			slices.SortFunc(kinds[kind], func(a, b Rule) int { return cmp.Compare(a.String(), b.String()) })
		}
	}
	return kinds
}
