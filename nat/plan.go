package nat

import (
	"net/netip"
	"slices"
)

// ChangeOp is the kind of a Change.
type ChangeOp uint8

const (
	AddRule ChangeOp = iota + 1
	RemoveRule
)

// Change is one step from the rules that are to those that are wanted.
type Change struct {
	Op   ChangeOp
	Rule Rule
}

// String is the rule with a + or - in front.
func (c Change) String() string {
	if c.Op == RemoveRule {
		return "- " + c.Rule.String()
	}
	return "+ " + c.Rule.String()
}

// Plan is the smallest change that makes the rules of have those of want: what is
// to be removed, in the order of have, then what is to be added, in the order of
// want. It looks at nothing but its arguments, so that it is the dry run of
// Table.Apply. In what is equal it returns no change.
//
// Where rules have changed places, and the places matter (see Order above), some are
// removed and added again. Two rules that publish the same port of the same
// address, or the same rule twice, are an error, as is an invalid rule.
func Plan(have, want []Rule) ([]Change, error) { return plan(normal(have), normal(want)) }

// plan is Plan of rules in their normal form.
func plan(have, want []Rule) ([]Change, error) {
	set, err := checked(want)
	if err != nil {
		return nil, err
	}
	return planSet(have, set), nil
}

// planSet is plan of rules that have been checked.
func planSet(have []Rule, set *ruleSet) []Change {
	want := set.rules()
	set.base.build()
	kept, stays, n := common(have, want, set.base.index)
	changes := make([]Change, 0, len(have)+len(want)-2*n)
	for i := range have {
		if !kept[i] {
			changes = append(changes, Change{RemoveRule, have[i]})
		}
	}
	for i := range want {
		if !stays[i] {
			changes = append(changes, Change{AddRule, want[i]})
		}
	}
	return changes
}

// normal is the one form in which rules that mean the same are equal.
func normal(rules []Rule) []Rule {
	out := make([]Rule, len(rules))
	for i := range rules {
		out[i] = rules[i]
		out[i].normalize()
	}
	return out
}

func (r Rule) normal() Rule {
	r.normalize()
	return r
}

func (r *Rule) normalize() {
	if r.Family != AnyFamily && r.Family == r.told() {
		r.Family = AnyFamily
	}
	if r.Action == DNAT && r.ToPort == r.DestinationPort {
		r.ToPort = Ports{}
	}
}

// checked refuses rules that are invalid alone or together.
func checked(rules []Rule) (*ruleSet, error) {
	x := &indexed{list: rules, index: newIndex(len(rules)), published: make(map[published]int32, len(rules))}
	for i := range rules {
		r := &rules[i]
		if err := r.valid(); err != nil {
			return nil, err
		}
		if !x.index.enter(rules, i) {
			return nil, &OpError{Op: "validate", Object: r.String(), Err: invalid("the rule is there twice")}
		}
		for p := range r.publishes() {
			if other, ok := x.published[p]; ok {
				return nil, &OpError{Op: "validate", Object: r.String(), Err: invalidf("it publishes what another rule publishes (%s)", rules[other])}
			}
			x.published[p] = int32(i)
		}
	}
	return &ruleSet{base: x}, nil
}

// published is a port of an address: what exact rules are looked up by.
type published struct {
	addr     netip.Addr
	protocol Protocol
	port     uint16
}

// Exact tells a rule that publishes ports: DNAT of one address and protocol, and of
// one port or of ports that are shifted, from anywhere. Exact rules are looked up,
// not tried one after the other: a hundred thousand cost a connection no more
// than one. They come before all others.
func (r Rule) Exact() bool {
	shifted := r.ToPort.Len() > 1 && r.ToPort != r.DestinationPort
	return r.Action == DNAT && r.Destination.IsSingleIP() && (r.DestinationPort.Len() == 1 || shifted) &&
		r.In == "" && !r.Source.IsValid() && r.SourcePort == Ports{}
}

// publishes is what an exact rule is looked up by, and where each leads to.
func (r Rule) publishes() func(yield func(published, netip.AddrPort) bool) {
	return func(yield func(published, netip.AddrPort) bool) {
		if !r.Exact() {
			return
		}
		for i := range r.DestinationPort.Len() {
			port := r.DestinationPort.First + uint16(i)
			to := port
			switch {
			case r.ToPort.Len() > 1:
				to = r.ToPort.First + uint16(i)
			case r.ToPort.Len() == 1:
				to = r.ToPort.First
			}
			if !yield(published{r.Destination.Addr(), r.Protocol, port}, netip.AddrPortFrom(r.To, to)) {
				return
			}
		}
	}
}

// class is what the order of rules matters within: two of different classes never
// see the same packet at the same place.
func (r *Rule) class() int {
	c := 0
	if r.family() == IPv6 {
		c = 1
	}
	if r.Action.destination() {
		c += 2
	}
	return c
}

const classes = 4

// common is what both lists have, as marks in each and their number: exact rules
// in any order, and of the others of each class as many as can stay where they are.
func common(have, want []Rule, wanted *index) (kept, stays []bool, n int) {
	kept, stays = make([]bool, len(have)), make([]bool, len(want))
	keep := func(i, place int) {
		kept[i], stays[place] = true, true
		n++
	}
	var ordered, places [classes][]int // in have and in want
	for i := range have {
		place := wanted.find(want, &have[i])
		switch {
		case place < 0 || stays[place]:
		case have[i].Exact():
			keep(i, place)
		default:
			c := have[i].class()
			ordered[c], places[c] = append(ordered[c], i), append(places[c], place)
		}
	}
	for c := range classes {
		for _, i := range rising(places[c]) {
			keep(ordered[c][i], places[c][i])
		}
	}
	return kept, stays, n
}

// rising is a longest part of the list that rises, as indexes.
func rising(list []int) []int {
	ends := []int{} // of the best rises of each length: indexes into list
	before := make([]int, len(list))
	for i, v := range list {
		n, _ := slices.BinarySearchFunc(ends, v, func(e, v int) int { return list[e] - v })
		before[i] = -1
		if n > 0 {
			before[i] = ends[n-1]
		}
		if n == len(ends) {
			ends = append(ends, i)
		} else {
			ends[n] = i
		}
	}
	var out []int
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = before[i] {
			out = append(out, i)
		}
	}
	slices.Reverse(out)
	return out
}
