package nat

import "io/fs"

// state is what the kernel has of ours.
type state struct {
	there bool         // something of ours
	sound bool         // all of it is as we write it
	rules []RuleStatus // as they were read; nil after an update
	set   *ruleSet     // the rules without counters, once somebody asked for them
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

// update makes the state what it is after changes, as a write without want
// leaves it.
func (s *state) update(changes []Change) {
	s.ruleSet().apply(changes)
	s.rules = nil
}

// changes checks rules that are to be added or removed.
func (s *state) changes(op ChangeOp, rules []Rule) ([]Change, error) {
	rules = normal(rules)
	if op == AddRule {
		if _, err := check(rules); err != nil {
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

// ruleSet is rules in their order that are found, added and removed one by one,
// however many there are.
type ruleSet struct {
	list      []Rule // with holes: rules without an action
	holes     int
	index     *index // nil until somebody looks
	published map[published]int32
}

func newRuleSet(rules []Rule) *ruleSet { return &ruleSet{list: rules} }

// rules are those that are there. They are not to be changed.
func (s *ruleSet) rules() []Rule {
	if s.holes > 0 {
		list := make([]Rule, 0, len(s.list)-s.holes)
		for i := range s.list {
			if s.list[i].Action != 0 {
				list = append(list, s.list[i])
			}
		}
		*s = ruleSet{list: list}
	}
	return s.list
}

// build makes the indexes.
func (s *ruleSet) build() {
	if s.index != nil {
		return
	}
	s.index, s.published = newIndex(len(s.list)), make(map[published]int32, len(s.list))
	for i := range s.list {
		if s.list[i].Action != 0 {
			s.enter(i)
		}
	}
}

func (s *ruleSet) enter(place int) {
	s.index.add(s.list, place)
	for p := range s.list[place].publishes() {
		s.published[p] = int32(place)
	}
}

func (s *ruleSet) has(r *Rule) bool {
	s.build()
	return s.index.find(s.list, r) >= 0
}

// free refuses a rule that can not be added.
func (s *ruleSet) free(r *Rule) error {
	if s.has(r) {
		return &OpError{Op: "add", Object: r.String(), Err: fs.ErrExist}
	}
	for p := range r.publishes() {
		if place, ok := s.published[p]; ok {
			return &OpError{Op: "add", Object: r.String(), Err: existsf("what it publishes is published by %s", s.list[place])}
		}
	}
	return nil
}

// apply makes changes: what is added comes last.
func (s *ruleSet) apply(changes []Change) {
	s.build()
	for i := range changes {
		if r := &changes[i].Rule; changes[i].Op == RemoveRule {
			s.remove(r)
		} else if s.index.find(s.list, r) < 0 {
			s.list = append(s.list, *r)
			s.enter(len(s.list) - 1)
		}
	}
	if s.holes > 64 && s.holes > len(s.list)/2 {
		s.rules()
	}
}

// prefer makes changes; rules that publish what is added give way.
func (s *ruleSet) prefer(changes []Change) {
	s.build()
	for i := range changes {
		if changes[i].Op != AddRule {
			continue
		}
		for p := range changes[i].Rule.publishes() {
			if place, ok := s.published[p]; ok && s.list[place] != changes[i].Rule {
				r := s.list[place]
				s.remove(&r)
			}
		}
	}
	s.apply(changes)
}

func (s *ruleSet) remove(r *Rule) {
	place := s.index.find(s.list, r)
	if place < 0 {
		return
	}
	s.index.remove(s.list, place)
	for p := range r.publishes() {
		if s.published[p] == int32(place) {
			delete(s.published, p)
		}
	}
	s.list[place] = Rule{}
	s.holes++
}
