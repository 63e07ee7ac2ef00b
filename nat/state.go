package nat

import (
	"cmp"
	"io/fs"
	"slices"
)

// state is what the kernel has of ours.
type state struct {
	there bool         // something of ours
	sound bool         // all of it is as we write it
	rules []RuleStatus // as they were read; nil after an update
	set   *ruleSet     // the rules without counters, once somebody asked for them
	goal  *ruleSet     // the rules that a write with want makes, if it comes from planSet
	nft   nftState     // of the backend of nftables
}

// ruleSet is the rules, to look up.
func (s *state) ruleSet() *ruleSet {
	if s.set == nil {
		list := make([]Rule, len(s.rules))
		for i := range s.rules {
			list[i] = s.rules[i].Rule
			list[i].normalize()
		}
		s.set = newRuleSet(list)
	}
	return s.set
}

// list is the rules without their counters. It is not to be changed.
func (s *state) list() []Rule { return s.ruleSet().rules() }

// changes checks rules that are to be added or removed.
func (s *state) changes(op ChangeOp, rules []Rule) ([]Change, error) {
	rules = normal(rules)
	if op == AddRule {
		if _, err := checked(rules); err != nil {
			return nil, err
		}
	}
	set := s.ruleSet()
	changes, removed := make([]Change, len(rules)), newIndex(len(rules))
	for i := range rules {
		r := &rules[i]
		changes[i] = Change{op, *r}
		if op == AddRule {
			if err := set.free(r); err != nil {
				return nil, err
			}
			continue
		}
		if !set.has(r) || removed.find(rules, r) >= 0 {
			return nil, &OpError{Op: "remove", Object: r.String(), Err: fs.ErrNotExist}
		}
		removed.add(rules, i)
	}
	return changes, nil
}

// sortExact puts the exact rules, which come first, in the order of what they publish.
func sortExact(list []RuleStatus) {
	n := slices.IndexFunc(list, func(s RuleStatus) bool { return !s.Exact() })
	if n < 0 {
		n = len(list)
	}
	type key struct {
		published
		place int32
	}
	keys := make([]key, n)
	for i := range keys {
		r := &list[i].Rule
		keys[i] = key{published{r.Destination.Addr(), r.Protocol, r.DestinationPort.First}, int32(i)}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.port, b.port))
	})
	sorted := make([]RuleStatus, n)
	for i, k := range keys {
		sorted[i] = list[k.place]
	}
	copy(list, sorted)
}

// ruleSet is rules in their order that are found, added and removed one by one,
// however many there are.
type ruleSet struct {
	base  *indexed           // what others may have, too: never changed
	gone  map[int32]struct{} // places in base that are removed
	extra indexed            // what was added; those that were removed again have no action
	holes int                // in extra
}

func newRuleSet(rules []Rule) *ruleSet { return &ruleSet{base: &indexed{list: rules}} }

// clone is the same rules, to be changed by themselves.
func (s *ruleSet) clone() *ruleSet {
	s.rules()
	return &ruleSet{base: s.base}
}

// rules are those that are there. They are not to be changed.
func (s *ruleSet) rules() []Rule {
	if len(s.gone) > 0 || len(s.extra.list) > 0 {
		list := make([]Rule, 0, len(s.base.list)-len(s.gone)+len(s.extra.list)-s.holes)
		for i := range s.base.list {
			if _, gone := s.gone[int32(i)]; !gone {
				list = append(list, s.base.list[i])
			}
		}
		for i := range s.extra.list {
			if s.extra.list[i].Action != 0 {
				list = append(list, s.extra.list[i])
			}
		}
		*s = *newRuleSet(list)
	}
	return s.base.list
}

func (s *ruleSet) has(r *Rule) bool {
	s.base.build()
	s.extra.build()
	place := s.base.find(r)
	if _, gone := s.gone[int32(place)]; place >= 0 && !gone {
		return true
	}
	return s.extra.find(r) >= 0
}

// publisher is the rule that publishes a port.
func (s *ruleSet) publisher(p published) (Rule, bool) {
	s.base.build()
	s.extra.build()
	if place, ok := s.base.published[p]; ok {
		if _, gone := s.gone[place]; !gone {
			return s.base.list[place], true
		}
	}
	if place, ok := s.extra.published[p]; ok {
		return s.extra.list[place], true
	}
	return Rule{}, false
}

// free refuses a rule that can not be added.
func (s *ruleSet) free(r *Rule) error {
	if s.has(r) {
		return &OpError{Op: "add", Object: r.String(), Err: fs.ErrExist}
	}
	for p := range r.publishes() {
		if other, ok := s.publisher(p); ok {
			return &OpError{Op: "add", Object: r.String(), Err: existsf("what it publishes is published by %s", other)}
		}
	}
	return nil
}

// apply makes changes: what is added comes last.
func (s *ruleSet) apply(changes []Change) {
	for i := range changes {
		r := &changes[i].Rule
		switch has := s.has(r); {
		case changes[i].Op == RemoveRule && has:
			s.remove(r)
		case changes[i].Op == AddRule && !has:
			s.extra.list = append(s.extra.list, *r)
			s.extra.enter(len(s.extra.list) - 1)
		}
	}
	if n := len(s.gone) + len(s.extra.list); n > 1000 && n > len(s.base.list) {
		s.rules()
	}
}

// prefer makes changes; rules that publish what is added give way.
func (s *ruleSet) prefer(changes []Change) {
	for i := range changes {
		if changes[i].Op != AddRule {
			continue
		}
		for p := range changes[i].Rule.publishes() {
			if r, ok := s.publisher(p); ok && r != changes[i].Rule {
				s.remove(&r)
			}
		}
	}
	s.apply(changes)
}

// remove removes a rule that is there.
func (s *ruleSet) remove(r *Rule) {
	if place := s.base.find(r); place >= 0 {
		if _, gone := s.gone[int32(place)]; !gone {
			if s.gone == nil {
				s.gone = map[int32]struct{}{}
			}
			s.gone[int32(place)] = struct{}{}
			return
		}
	}
	place := s.extra.find(r)
	s.extra.index.remove(s.extra.list, place)
	for p := range r.publishes() {
		delete(s.extra.published, p)
	}
	s.extra.list[place] = Rule{}
	s.holes++
}

// indexed is rules that are found by what they are and by what they publish.
type indexed struct {
	list      []Rule
	index     *index // nil until somebody looks
	published map[published]int32
}

// build makes the indexes.
func (x *indexed) build() {
	if x.index != nil {
		return
	}
	x.index, x.published = newIndex(len(x.list)), make(map[published]int32, len(x.list))
	for i := range x.list {
		x.enter(i)
	}
}

func (x *indexed) enter(place int) {
	x.index.add(x.list, place)
	for p := range x.list[place].publishes() {
		x.published[p] = int32(place)
	}
}

// find is the place of a rule, -1 if it is not there.
func (x *indexed) find(r *Rule) int { return x.index.find(x.list, r) }
