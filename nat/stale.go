package nat

// Conntrack rewrites a flow as its first packet was rewritten. For protocols that
// have connections that is right: the connection is with that server, and ends one
// day. A client of UDP that keeps its socket has one flow, which each packet renews: it
// would go on for ever to a server that is gone, or past a rule that is new. Such
// flows are stale, and are to be forgotten.

// stale tells the flows that are not as they would be if they began now, as far as
// changes of the rules have done that. Where a flow does not tell, it is kept if
// some rule explains it and else taken for stale: one that is forgotten in vain
// begins anew as it was.
type stale struct {
	changes []Change
	want    func() []Rule // the rules as they are now
	all     bool          // any of them may be new to any flow

	v4, v6   bool     // the families of the rules that count
	protocol Protocol // that of all of them; 0 if they differ
	counted  bool     // there is one

	// By side, made when the first flow needs them.
	added, removed *[2]ranking
	now            *[2]ranking // those of want
}

// newStale is for changes that made the rules want. With all, flows are from a time
// of which nothing is known. It is nil if no flow can be stale.
func newStale(changes []Change, want func() []Rule, all bool) *stale {
	s := &stale{changes: changes, want: want, all: all}
	for i := range changes {
		s.count(&changes[i].Rule)
	}
	if all {
		list := want()
		for i := range list {
			s.count(&list[i])
		}
	}
	if !s.counted {
		return nil
	}
	return s
}

func (s *stale) count(r *Rule) {
	if !r.connectionless() {
		return
	}
	s.v4, s.v6 = s.v4 || r.family() == IPv4, s.v6 || r.family() == IPv6
	if s.counted && s.protocol != r.Protocol {
		s.protocol = 0
	} else {
		s.protocol = r.Protocol
	}
	s.counted = true
}

// is tells a flow that is stale.
func (s *stale) is(f *flow) bool {
	return f.protocol.connectionless() && (s.side(destinations, f) || s.side(sources, f))
}

// side looks for the rule that now explains where a flow goes, or whom it comes from.
func (s *stale) side(k side, f *flow) bool {
	s.rank()
	removed := s.removed[k].of(k, f)
	if !s.all && len(removed) == 0 && len(s.added[k].of(k, f)) == 0 {
		return false
	}
	// Rules that would lead it elsewhere if it came, or left, by their interface.
	var passed, passedNew bool
	for _, p := range s.rules()[k].of(k, f) {
		if is := p.leads(k, f); is != elsewhere {
			overtaken := passedNew && !p.added || passed && has(removed, p.rule)
			return overtaken || is == perhaps && leadThere(removed, k, f)
		}
		if p.certain(k) {
			if p.added || s.all {
				return true
			}
			break
		}
		passed, passedNew = true, passedNew || p.added
	}
	rewritten := k == destinations && f.dnat || k == sources && f.snat
	return passedNew || passed && s.all || rewritten && len(removed) > 0
}

func has(list []ranked, r *Rule) bool {
	for i := range list {
		if *list[i].rule == *r {
			return true
		}
	}
	return false
}

// leadThere tells a flow that was led where it goes by a rule that is gone: one that is
// there now would lead it to an address of this machine, which it does not tell.
func leadThere(removed []ranked, k side, f *flow) bool {
	for _, p := range removed {
		if p.leads(k, f) == surely {
			return true
		}
	}
	return false
}

// rank orders the changes.
func (s *stale) rank() {
	if s.added != nil {
		return
	}
	s.added, s.removed = new([2]ranking), new([2]ranking)
	for i := range s.changes {
		switch r := &s.changes[i].Rule; {
		case !r.connectionless():
		case s.changes[i].Op == AddRule:
			put(s.added, r, 0, true)
		default:
			put(s.removed, r, 0, false)
		}
	}
}

// rules are those of want.
func (s *stale) rules() *[2]ranking {
	if s.now != nil {
		return s.now
	}
	s.now = new([2]ranking)
	var added []Rule
	for i := range s.changes {
		if c := &s.changes[i]; c.Op == AddRule && c.Rule.connectionless() {
			added = append(added, c.Rule)
		}
	}
	isNew := newIndex(len(added))
	for i := range added {
		isNew.add(added, i)
	}
	list := s.want()
	for i := range list {
		if r := &list[i]; r.connectionless() {
			put(s.now, r, i, isNew.find(added, r) >= 0)
		}
	}
	return s.now
}
