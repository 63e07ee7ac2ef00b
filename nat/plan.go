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
// Where rules have changed places, and the places matter (see Rule), some are
// removed and added again. Two rules that publish the same port of the same
// address, or the same rule twice, are an error, as is an invalid rule.
func Plan(have, want []Rule) ([]Change, error) {
	have, want = normal(have), normal(want)
	if err := check(want); err != nil {
		return nil, err
	}
	keep := common(have, want)
	var changes []Change
	for _, r := range have {
		if !keep[r] {
			changes = append(changes, Change{RemoveRule, r})
		}
	}
	for _, r := range want {
		if !keep[r] {
			changes = append(changes, Change{AddRule, r})
		}
	}
	return changes, nil
}

// normal is the one form in which rules that mean the same are equal.
func normal(rules []Rule) []Rule {
	out := make([]Rule, len(rules))
	for i, r := range rules {
		out[i] = r.normal()
	}
	return out
}

func (r Rule) normal() Rule {
	if r.told() != AnyFamily && (r.Family == AnyFamily || r.Family == r.told()) {
		r.Family = AnyFamily
	}
	if r.Action == DNAT && r.ToPort == r.DestinationPort {
		r.ToPort = Ports{}
	}
	return r
}

// check refuses rules that are invalid alone or together.
func check(rules []Rule) error {
	places := make(map[published]Rule, len(rules))
	all := make(map[Rule]bool, len(rules))
	for _, r := range rules {
		if err := r.Validate(); err != nil {
			return err
		}
		if all[r] {
			return &OpError{Op: "validate", Object: r.String(), Err: invalid("the rule is there twice")}
		}
		all[r] = true
		for p := range r.publishes() {
			if other, ok := places[p]; ok {
				return &OpError{Op: "validate", Object: r.String(), Err: invalidf("it publishes what another rule publishes (%s)", other)}
			}
			places[p] = r
		}
	}
	return nil
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
	shifted := r.ToPort.Len() > 1
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

// common is what both lists have: exact rules in any order, and of the others as
// many as can stay where they are.
func common(have, want []Rule) map[Rule]bool {
	keep := make(map[Rule]bool, len(want))
	wanted := make(map[Rule]int, len(want)) // and its place among the ordered
	for _, r := range want {
		wanted[r] = len(wanted)
	}
	var ordered []Rule
	for _, r := range have {
		if _, ok := wanted[r]; !ok {
			continue
		}
		if r.Exact() {
			keep[r] = true
		} else {
			ordered = append(ordered, r)
		}
	}
	for _, r := range rising(ordered, wanted) {
		keep[r] = true
	}
	return keep
}

// rising is a longest part of the list whose places rise.
func rising(list []Rule, place map[Rule]int) []Rule {
	ends := []int{} // of the best rises of each length: indexes into list
	before := make([]int, len(list))
	for i, r := range list {
		n, _ := slices.BinarySearchFunc(ends, place[r], func(e, p int) int { return place[list[e]] - p })
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
	var out []Rule
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = before[i] {
			out = append(out, list[i])
		}
	}
	slices.Reverse(out)
	return out
}
