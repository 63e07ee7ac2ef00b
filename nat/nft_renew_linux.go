package nat

import (
	"slices"

	"golang.org/x/sys/unix"
)

// renewLeast is from how many removed rules on a map or chain of which nothing stays is
// emptied at once. A map is made anew: the kernel drops the elements of the old one in
// the background, which otherwise takes half as long as to add as many. In
// a chain it looks for each rule from the first one on.
const renewLeast = 256

var isIPv6 = [...]bool{false, true}

// emptied tells of which maps and ordered chains nothing stays.
type emptied struct {
	maps   [len(isIPv6)]bool
	chains [3]bool
}

func (e *emptied) chain(name string) bool {
	return e.chains[slices.Index(orderedChains, name)]
}

// tally is how many rules are in each map and ordered chain.
type tally struct {
	maps   [len(isIPv6)]int
	chains [3]int
}

func (t *tally) count(r *Rule, n int) {
	switch {
	case r.Exact() && r.Destination.Addr().Is6():
		t.maps[1] += n
	case r.Exact():
		t.maps[0] += n
	default:
		for _, chain := range r.chains() {
			t.chains[slices.Index(orderedChains, chain)] += n
		}
	}
}

func (w *nftWriter) findEmptied(s *state, changes []Change) {
	if len(changes) < renewLeast {
		return
	}
	var removed, left tally
	for i := range changes {
		if changes[i].Op == RemoveRule {
			removed.count(&changes[i].Rule, 1)
		}
	}
	left = removed
	list := s.list()
	for i := range list {
		left.count(&list[i], -1)
	}
	for i, n := range removed.maps {
		w.emptied.maps[i] = n >= renewLeast && left.maps[i] == 0
	}
	for i, n := range removed.chains {
		w.emptied.chains[i] = n >= renewLeast && left.chains[i] == 0
	}
}

// needHandle tells whether a change needs the handle of a rule: to remove it, or to add
// another before it.
func (w *nftWriter) needHandle(changes []Change, places bool) bool {
	return slices.ContainsFunc(changes, func(c Change) bool {
		return (places || c.Op == RemoveRule) && slices.ContainsFunc(c.Rule.chains(), func(name string) bool { return !w.emptied.chain(name) })
	})
}

func (w *nftWriter) flushChains() {
	for i, is := range w.emptied.chains {
		if is {
			w.flushChain(orderedChains[i])
			w.about(subject{command: unix.NFT_MSG_DELRULE, name: "chain " + orderedChains[i]})
		}
	}
}

// renewMaps makes maps anew of which nothing stays.
func (w *nftWriter) renewMaps() {
	if !w.emptied.maps[0] && !w.emptied.maps[1] {
		return
	}
	looking := baseChains[:2]
	for _, c := range looking {
		w.flushChain(c.name)
		w.about(subject{command: unix.NFT_MSG_DELRULE, name: "chain " + c.name})
	}
	for i, v6 := range isIPv6 {
		if name := publishedMap(v6); w.emptied.maps[i] {
			w.delSet(name)
			w.newSet(name, publishedForm(v6))
			w.about(subject{command: unix.NFT_MSG_NEWSET, name: "map " + name})
		}
	}
	for _, c := range looking {
		w.baseRules(c.name, c.rules)
	}
}
