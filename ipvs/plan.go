package ipvs

import (
	"net/netip"
	"slices"
)

// Plan is the smallest change that makes the services of have those of want. It
// looks at nothing but its arguments, so that it is the dry run of Table.Apply,
// and it keeps none of their slices. In what is equal it returns no change.
//
// A wanted service is the caller's with all its real servers: one that is not
// wanted is removed. Services that are not wanted are removed where
// policy.Owns says so, and left alone otherwise. The table is never flushed.
//
// Made one after the other, the changes lose nothing on the way that can be
// kept:
//   - New services come before the removal of old ones, so that traffic which
//     moves between them (from an address to a firewall mark, say) always has one.
//   - Within a service, real servers are added before others are quiesced, and
//     quiesced before others are removed: it is never without one in between.
//   - A new service of scheduler mh, whose hash table the kernel rebuilds at each
//     new server, is built with scheduler none and given mh at the end. A service
//     that exists is never set to none, as it would schedule nothing for a
//     moment: there every change costs one rebuild.
//
// A plan that was broken off at any point is completed by the next one.
//
// An invalid or duplicate service of want is an error, and there is no plan.
// Duplicates in have, which a reading of a changing table can hold, count once.
func Plan(have, want []Service, policy Policy) ([]Change, error) {
	p := planner{policy: policy, have: have, index: make(map[ServiceID]int, len(have))}
	for i, s := range have {
		id := s.ID.normal()
		if _, ok := p.index[id]; !ok {
			p.index[id] = i
		}
	}
	p.changes = make([]Change, 0, p.additions(want))
	wanted := make(map[ServiceID]struct{}, len(want))
	for _, s := range want {
		id := s.ID.normal()
		if _, ok := wanted[id]; ok {
			return nil, &OpError{Op: "plan", Object: id.String(), Err: errDuplicateService}
		}
		wanted[id] = struct{}{}
		if err := p.service(s); err != nil {
			return nil, err
		}
	}
	if policy.Owns == nil {
		return p.changes, nil
	}
	for i, s := range have {
		id := s.ID.normal()
		if _, ok := wanted[id]; !ok && p.index[id] == i && policy.Owns(id) {
			p.add(RemoveService, Service{ID: id}, Destination{})
		}
	}
	return p.changes, nil
}

// planner is the state of one Plan.
type planner struct {
	policy  Policy
	have    []Service
	index   map[ServiceID]int // of have, by normal id
	changes []Change
	match   matcher
}

// additions is how many changes it takes to add the wanted services that are
// new. To grow the list of a large table step by step would cost as much as to
// plan it.
func (p *planner) additions(want []Service) int {
	n := 0
	for i := range want {
		if _, ok := p.index[want[i].ID.normal()]; !ok {
			n += 1 + len(want[i].Destinations)
			if want[i].Scheduler == MH {
				n++
			}
		}
	}
	return n
}

func (p *planner) add(op ChangeOp, s Service, d Destination) {
	p.changes = append(p.changes, Change{Op: op, Service: s, Destination: d})
}

// service plans one wanted service.
func (p *planner) service(want Service) error {
	if err := want.validateHead(); err != nil {
		return &OpError{Op: "plan", Object: want.ID.String(), Err: err}
	}
	head := want.normalHead()
	head.Destinations = nil
	i, ok := p.index[head.ID]
	if !ok {
		return p.newService(head, want.Destinations)
	}
	have := p.have[i].normalHead()
	changed := have.Scheduler != head.Scheduler || have.Flags != head.Flags || have.Persistence != head.Persistence
	// The hash table of mh is built once only if mh comes last and goes first.
	last := head.Scheduler == MH && have.Scheduler != MH
	if changed && !last {
		p.add(UpdateService, head, Destination{})
	}
	if err := p.destinations(head, have.Destinations, want.Destinations); err != nil {
		return err
	}
	if changed && last {
		p.add(UpdateService, head, Destination{})
	}
	return nil
}

// newService plans a service that is not in the table.
func (p *planner) newService(head Service, want []Destination) error {
	first := head
	if head.Scheduler == MH && len(want) > 1 {
		first.Scheduler = NoScheduler
	}
	p.add(AddService, first, Destination{})
	if err := p.newDestinations(head.ID, want); err != nil {
		return err
	}
	if first.Scheduler != head.Scheduler {
		p.add(UpdateService, head, Destination{})
	}
	return nil
}

// newDestinations plans the real servers of a service that has none.
func (p *planner) newDestinations(id ServiceID, want []Destination) error {
	named, start, few := Service{ID: id}, len(p.changes), len(want) <= fewDestinations
	for _, w := range want {
		if err := w.validate(id); err != nil {
			return &OpError{Op: "plan", Object: destinationObject(id, w.Addr), Err: err}
		}
		w = w.normal()
		if few && addedBefore(p.changes[start:], w.Addr) {
			return &OpError{Op: "plan", Object: destinationObject(id, w.Addr), Err: errDuplicateDestination}
		}
		p.add(AddDestination, named, w)
	}
	if few {
		return nil
	}
	if addr, ok := duplicate(want); ok {
		return &OpError{Op: "plan", Object: destinationObject(id, addr), Err: errDuplicateDestination}
	}
	return nil
}

// fewDestinations are compared with each other faster than by a map.
const fewDestinations = 16

func addedBefore(added []Change, addr netip.AddrPort) bool {
	for i := range added {
		if added[i].Destination.Addr == addr {
			return true
		}
	}
	return false
}

// destinations plans the real servers of one service that exists: what is new, then what
// changes and still serves, then what is quiesced, then what goes.
func (p *planner) destinations(head Service, have, want []Destination) error {
	named := Service{ID: head.ID}
	p.match.reset(have, len(want))
	start := len(p.changes)
	for i, w := range want {
		if err := w.validate(head.ID); err != nil {
			return &OpError{Op: "plan", Object: destinationObject(head.ID, w.Addr), Err: err}
		}
		w = w.normal()
		j, ok := p.match.find(i, w.Addr)
		switch {
		case !ok:
			return &OpError{Op: "plan", Object: destinationObject(head.ID, w.Addr), Err: errDuplicateDestination}
		case j < 0:
			p.add(AddDestination, named, w)
			continue
		}
		h := have[j].normal()
		if p.policy.KeepWeights {
			w.Weight = h.Weight
		}
		if w != h {
			p.add(UpdateDestination, named, w)
		}
	}
	if added := p.changes[start:]; !slices.IsSortedFunc(added, byRank) {
		slices.SortStableFunc(added, byRank)
	}
	for j := range have {
		if p.match.left(j) {
			p.add(RemoveDestination, named, Destination{Addr: unmap(have[j].Addr)})
		}
	}
	return nil
}

// byRank orders the changes of one service's destinations: additions, updates
// of those that serve, updates of the quiesced ones.
func byRank(a, b Change) int { return a.rank() - b.rank() }

func (c Change) rank() int {
	switch {
	case c.Op == AddDestination:
		return 0
	case c.Destination.Weight != 0:
		return 1
	}
	return 2
}

// matcher pairs the wanted destinations of one service with those it has. A
// table that is right already lists them in the order they were given or, as
// the kernel does, in the reverse: then it needs no map.
type matcher struct {
	have  []Destination
	want  int
	taken []bool                 // have that is wanted
	index map[netip.AddrPort]int // of have, and of new ones (negative); built when first needed
	built bool
}

func (m *matcher) reset(have []Destination, want int) {
	m.have, m.want, m.built = have, want, false
	m.taken = append(m.taken[:0], make([]bool, len(have))...)
}

// find is the index in have of the wanted destination i, or -1 if it is new. It
// is not ok if that address was found before.
func (m *matcher) find(i int, addr netip.AddrPort) (j int, ok bool) {
	for _, j := range [2]int{len(m.have) - 1 - i, i} {
		if j >= 0 && j < len(m.have) && !m.taken[j] && !m.built && unmap(m.have[j].Addr) == addr {
			m.taken[j] = true
			return j, true
		}
	}
	m.build()
	j, found := m.index[addr]
	switch {
	case !found:
		m.index[addr] = -1
		return -1, true
	case j < 0 || m.taken[j]:
		return 0, false
	}
	m.taken[j] = true
	return j, true
}

// left tells that have[j] is wanted by none, and is no duplicate of another.
func (m *matcher) left(j int) bool {
	if m.taken[j] {
		return false
	}
	m.build()
	return m.index[unmap(m.have[j].Addr)] == j
}

func (m *matcher) build() {
	if m.built {
		return
	}
	m.built = true
	if m.index == nil {
		m.index = make(map[netip.AddrPort]int, max(len(m.have), m.want))
	}
	clear(m.index)
	for j, d := range m.have {
		addr := unmap(d.Addr)
		if first, ok := m.index[addr]; !ok || !m.taken[first] && m.taken[j] {
			m.index[addr] = j
		}
	}
}
