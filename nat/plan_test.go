package nat

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func rules(t testing.TB, lines ...string) []Rule {
	t.Helper()
	out := make([]Rule, len(lines))
	for i, line := range lines {
		r, err := ParseRule(line)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = r
	}
	return out
}

const (
	web  = "dnat: tcp destination 12.0.0.1:80 to 10.0.0.1:8080"
	web2 = "dnat: tcp destination 12.0.0.1:80 to 10.0.0.2:8080"
	dns  = "dnat: udp destination 12.0.0.1:53 to 10.0.0.1:53"
	a    = "snat: source 10.0.1.0/24 to 12.0.0.1"
	b    = "snat: source 10.0.0.0/16 to 12.0.0.2"
	c    = "masquerade: ipv4 out eth1"
	c6   = "masquerade: ipv6 out eth1"

	redirect = "redirect: ipv4 tcp destination *:80 to *:8080"
)

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name       string
		have, want []string
		changes    string
	}{
		{"nothing", nil, nil, ""},
		{"all new, in order", nil, []string{web, a, b}, "+" + web + "|+" + a + "|+" + b},
		{"the same", []string{web, a, b}, []string{web, a, b}, ""},
		{"places of exact rules do not matter", []string{web, dns, a}, []string{a, dns, web}, ""},
		{"one less", []string{web, a, b}, []string{web, b}, "-" + a},
		{"one moved", []string{a, b, c}, []string{b, c, a}, "-" + a + "|+" + a},
		{"places of different classes do not matter", []string{a, redirect, c6, web, b}, []string{redirect, a, b, c6}, "-" + web},
		{"one in between", []string{a, c}, []string{a, b, c}, "+" + b},
		{"another target", []string{web, a}, []string{web2, a}, "-" + web + "|+" + web2},
		{"none any more", []string{web, a}, nil, "-" + web + "|-" + a},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes, err := Plan(rules(t, tt.have...), rules(t, tt.want...))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range changes {
				got = append(got, strings.Replace(c.String(), " ", "", 1))
			}
			if text := strings.Join(got, "|"); text != tt.changes {
				t.Errorf("got %s\nwant %s", text, tt.changes)
			}
		})
	}
}

func TestPlanRefusesRulesThatCollide(t *testing.T) {
	for _, want := range [][]string{
		{web, web2},
		{a, a},
		{"dnat: tcp destination 12.0.0.1:70-89 to 10.0.0.1:170-189", web},
	} {
		if _, err := Plan(nil, rules(t, want...)); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%v: %v", want, err)
		}
	}
}

// Of lists of any order the plan removes and adds as little as can be, and what is
// kept keeps its order.
func TestPlanOfAnyOrder(t *testing.T) {
	all := rules(t, a, b, c, "snat: source 10.0.2.0/24 to 12.0.0.1", "snat: source 10.0.3.0/24 to 12.0.0.1", web, dns)
	r := rand.New(rand.NewPCG(1, 2))
	some := func() []Rule {
		list := slices.Clone(all)
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return list[:r.IntN(len(list)+1)]
	}
	for range 2000 {
		have, want := some(), some()
		changes, err := Plan(have, want)
		if err != nil {
			t.Fatal(err)
		}
		removed, added := map[Rule]bool{}, map[Rule]bool{}
		for _, c := range changes {
			if c.Op == RemoveRule {
				removed[c.Rule] = true
			} else {
				added[c.Rule] = true
			}
		}
		kept := func(list []Rule, gone map[Rule]bool) (out []Rule) {
			for _, r := range list {
				if !gone[r] && !r.Exact() {
					out = append(out, r)
				}
			}
			return out
		}
		if before, after := kept(have, removed), kept(want, added); !slices.Equal(before, after) {
			t.Fatalf("have %v\nwant %v\nkept %v as %v", have, want, before, after)
		}
	}
}
