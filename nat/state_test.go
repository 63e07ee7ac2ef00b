package nat

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// A set of rules is a list, whatever is done to it and to its clones.
func TestRuleSetIsAList(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	all := rules(t, web, web2, dns, a, b, c, c6, redirect, "dnat: tcp destination 12.0.0.1:70-89 to 10.0.0.1:170-189", "dnat: tcp destination 12.0.0.1:89 to 10.0.0.1:1")
	for i := range 1500 {
		all = append(all, Rule{Name: fmt.Sprint(i), Action: SNAT, Family: IPv4, To: netip.AddrFrom4([4]byte{1, 2, byte(i >> 8), byte(i)})})
	}
	type pair struct {
		set  *ruleSet
		list []Rule
	}
	pairs := []*pair{{set: newRuleSet(nil)}}
	for range 20_000 {
		p := pairs[rnd.IntN(len(pairs))]
		r := all[rnd.IntN(len(all))]
		if rnd.IntN(3) == 0 {
			r = all[rnd.IntN(10)]
		}
		switch has := slices.Contains(p.list, r); {
		case has != p.set.has(&r):
			t.Fatalf("has %s: %v", r, !has)
		case has:
			p.set.apply([]Change{{RemoveRule, r}})
			p.list = slices.DeleteFunc(p.list, func(q Rule) bool { return q == r })
		case rnd.IntN(2) == 0 && p.set.free(&r) == nil:
			p.set.apply([]Change{{AddRule, r}})
			p.list = append(p.list, r)
		default:
			p.set.prefer([]Change{{AddRule, r}})
			p.list = append(slices.DeleteFunc(p.list, func(q Rule) bool { return collide(q, r) }), r)
		}
		switch rnd.IntN(200) {
		case 0:
			pairs = append(pairs, &pair{p.set.clone(), slices.Clone(p.list)})
			pairs = pairs[max(0, len(pairs)-5):]
		case 1:
			if !slices.Equal(p.set.rules(), p.list) {
				t.Fatalf("%d rules, not %d, or others", len(p.set.rules()), len(p.list))
			}
		}
	}
}

func collide(q, r Rule) bool {
	for p := range q.publishes() {
		for o := range r.publishes() {
			if p == o {
				return true
			}
		}
	}
	return false
}

// Rules of one hash are told apart.
func TestIndexOfEqualHashes(t *testing.T) {
	list := rules(t, a, b, c, c6)
	x := newIndex(0)
	for i := range list {
		x.put(i, x.hash(&list[0]))
	}
	for i := range list {
		if at := x.find(list, &list[i]); at != i {
			t.Errorf("%d is at %d", i, at)
		}
	}
	x.remove(list, 2)
	x.remove(list, 0)
	for i, want := range []int{-1, 1, -1, 3} {
		if at := x.find(list, &list[i]); at != want {
			t.Errorf("%d is at %d, not %d", i, at, want)
		}
	}
}

func TestAddAndRemoveRefuseWhatCanNotBe(t *testing.T) {
	s := &state{rules: []RuleStatus{{Rule: rules(t, web)[0]}, {Rule: rules(t, a)[0]}}}
	for _, tt := range []struct {
		name  string
		op    ChangeOp
		rules []string
		err   error
	}{
		{"a new one", AddRule, []string{dns, b}, nil},
		{"what is there", AddRule, []string{dns, a}, fs.ErrExist},
		{"what is published", AddRule, []string{web2}, fs.ErrExist},
		{"a part of what is published", AddRule, []string{"dnat: tcp destination 12.0.0.1:70-89 to 10.0.0.1:170-189"}, fs.ErrExist},
		{"one twice", AddRule, []string{b, b}, fs.ErrInvalid},
		{"all there is", RemoveRule, []string{a, web}, nil},
		{"what is not there", RemoveRule, []string{b}, fs.ErrNotExist},
		{"what leads elsewhere", RemoveRule, []string{web2}, fs.ErrNotExist},
		{"one twice", RemoveRule, []string{a, a}, fs.ErrNotExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes, err := s.changes(tt.op, rules(t, tt.rules...))
			if !errors.Is(err, tt.err) || err == nil && len(changes) != len(tt.rules) {
				t.Errorf("%v, %v", changes, err)
			}
		})
	}
}

func TestExactRulesAreListedInOrder(t *testing.T) {
	want := rules(t, "dnat: tcp destination 9.0.0.1:80 to 10.0.0.1:8080", web, "dnat: tcp destination 12.0.0.1:443 to 10.0.0.1:8080", dns, b, a)
	list := make([]RuleStatus, len(want))
	for i, j := range []int{2, 0, 3, 1, 4, 5} {
		list[i].Rule = want[j]
	}
	sortExact(list)
	for i := range want {
		if list[i].Rule != want[i] {
			t.Errorf("%d: %s, not %s", i, list[i].Rule, want[i])
		}
	}
}
