package vip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
)

// hold makes a set hold what choose says, and carries out the plan for it.
func (m *Manager) hold(ctx context.Context, op string, s *Set, choose func(*Set) (bool, State)) (done []Change, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	holding, state := choose(s)
	if s.closed {
		return nil, opError(op, s.object(), fmt.Errorf("the Set is closed: %w", net.ErrClosed))
	}
	if err := m.free(s, state); err != nil {
		return nil, err
	}
	m.filters = m.filters || m.refuses() || len(refused(state)) > 0
	session, read := m.reading(s, state)
	if !holding {
		m.herald.drop(s) // nothing is announced any more, whatever else happens
	}
	err = m.change(ctx, op, session, func(k *kernel) (err error) {
		done, err = m.rehold(ctx, k, s, holding, state, read)
		return err
	})
	notify(m.wake)
	return done, err
}

// reading says how the kernel is spoken with, and how much of it is read, to hold
// a state or let it go: once all has been swept, for addresses and virtual MACs
// only their interfaces.
func (m *Manager) reading(s *Set, state State) (session func(func(*kernel) error) error, read func(*kernel) error) {
	all := state
	if s.held {
		all = union([]State{s.state, state})
	}
	if !m.swept || len(all.Tunnels)+len(all.SuppressARP) > 0 {
		return m.session, func(k *kernel) error { _, err := k.read(); return err }
	}
	names, indexes := all.names(), slices.Collect(maps.Values(s.index))
	if len(all.VirtualMACs) == 0 && !m.filters {
		return m.quick, func(k *kernel) error { return k.readSome(names, indexes...) }
	}
	return m.session, func(k *kernel) error {
		err := k.readSome(names, indexes...)
		if len(all.VirtualMACs) > 0 {
			err = errors.Join(err, k.readSettings())
		}
		k.readFilter()
		return err
	}
}

// rehold is hold with the kernel.
func (m *Manager) rehold(ctx context.Context, k *kernel, s *Set, holding bool, state State, read func(*kernel) error) (done []Change, err error) {
	want := State{}
	if holding {
		want = state
	}
	m.remember(s, holding, state)
	if len(refused(want)) > 0 {
		k.tables = tablesWanted
	}
	if err := read(k); err != nil {
		return nil, err
	}
	s.learn(k.have.Links)
	changes, errs := plan(k.have, want, claim(m.held(s, k.have.Links)...))
	done, err = carryOut(ctx, k, changes)
	m.filtered(k.have, done)
	m.swept = m.swept || err == nil && !k.have.partial
	err = errors.Join(join(errs), err, m.verify(k, done))
	s.learn(k.have.Links)
	m.announceAdded(s, done)
	return done, err
}

// free tells whether no other set has what this one wants. What it has is its
// own.
func (m *Manager) free(s *Set, want State) error {
	if m.sets[s.name] == s && s.state.same(want) {
		return nil
	}
	if s != m.base {
		if err := clash(want, m.base.state, "the Manager's own State"); err != nil {
			return err
		}
	}
	for _, other := range m.sets {
		if other == s {
			continue
		}
		if err := clash(want, other.state, fmt.Sprintf("the Set %q", other.name)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) remember(s *Set, holding bool, state State) {
	s.held, s.state, s.index = holding, state, map[string]int{}
	if holding {
		m.herald.hold(s, state.Addresses)
	}
	ips := map[netip.Addr]bool{}
	m.each(func(s *Set) {
		for _, a := range s.state.Addresses {
			if s.held {
				ips[a.Addr] = true
			}
		}
	})
	m.wanted.Store(&ips)
}

// each calls fn for all sets.
func (m *Manager) each(fn func(*Set)) {
	fn(m.base)
	for _, s := range m.sets {
		fn(s)
	}
}

// holds tells whether something is held.
func (m *Manager) holds() bool {
	any := false
	m.each(func(s *Set) { any = any || s.held })
	return any
}

// refuses tells whether something held refuses packets.
func (m *Manager) refuses() bool {
	any := false
	m.each(func(s *Set) { any = any || s.held && len(refused(s.state)) > 0 })
	return any
}

// held are the states of all sets that hold something, except one, as the
// interfaces are called now.
func (m *Manager) held(except *Set, links []Link) []State {
	now := make(map[int]string, len(links))
	for _, link := range links {
		now[link.Index] = link.Name
	}
	var list []State
	m.each(func(s *Set) {
		if s.held && s != except {
			list = append(list, follow(s.state, s.index, now))
		}
	})
	return list
}

// concerns tells whether a notice about an IP may matter.
func (m *Manager) concerns(addr netip.Addr) bool {
	ips := m.wanted.Load()
	return ips != nil && (*ips)[addr]
}

// change calls fn with the kernel, if the Manager is open.
func (m *Manager) change(ctx context.Context, op string, session func(func(*kernel) error) error, fn func(*kernel) error) error {
	if err := ctx.Err(); err != nil {
		return opError(op, "", err)
	}
	if m.lock == nil {
		return opError(op, "", fmt.Errorf("the Manager is not open: %w", net.ErrClosed))
	}
	return opError(op, "", session(func(k *kernel) error {
		if m.filters || m.refuses() {
			k.tables = tablesIfThere
		}
		err := fn(k)
		return errors.Join(err, k.save())
	}))
}

// filtered notes whether a table of ours is there, after a sweep or what sweeps.
func (m *Manager) filtered(have Snapshot, done []Change) {
	there := have.Filter != nil || have.unfiltered != nil && !errors.Is(have.unfiltered, errors.ErrUnsupported)
	for _, c := range done {
		there = (there || c.Op == AddFilter) && c.Op != DeleteFilter
	}
	m.filters = there
}

// mostAtOnce bounds a batch, so that a takeover that is called off ends soon.
const mostAtOnce = 64

// carryOut makes the changes in their order, those of addresses in batches, and
// goes on after a failure except where a change depends on the failed one. It
// returns those that were made.
func carryOut(ctx context.Context, k *kernel, changes []Change) (done []Change, err error) {
	var errs []error
	var loud, stuck bool // ARP would answer; an address of ours is still there
	failed := map[string]bool{}
	var bare []netip.Addr // packets to them are not refused
	var full bool         // addresses that should have gone may be there
	for len(changes) > 0 {
		if err := ctx.Err(); err != nil {
			errs = append(errs, opError(changes[0].Op.String(), changes[0].object(), err))
			break
		}
		var now []Change
		now, changes = batchOf(changes)
		now = slices.DeleteFunc(now, func(c Change) bool {
			return c.Op == AddAddress && (loud || failed[c.device()] || slices.Contains(bare, c.Address.Addr)) ||
				c.Op == RestoreSetting && stuck || (c.Op == ReduceFilter || c.Op == DeleteFilter) && full
		})
		for i, err := range executeAll(k, now) {
			c := now[i]
			if err == nil {
				done = append(done, c)
				continue
			}
			errs = append(errs, opError(c.Op.String(), c.object(), err))
			loud = loud || c.Op == ChangeSetting && quietValue[c.Setting.Key] != 0
			stuck = stuck || c.Op == DeleteAddress
			full = full || c.Op == DeleteAddress || c.Op == DeleteTunnel
			if c.Op == AddFilter {
				bare = c.Filter.Addresses
			}
			failed[c.device()] = failed[c.device()] || c.Op == AddTunnel || c.Op == AddVirtualMAC
		}
	}
	return done, errors.Join(errs...)
}

// batchOf parts the changes that can be made at once from the others: several
// of addresses, several devices that go, or one.
func batchOf(changes []Change) (now, later []Change) {
	n := 1
	if op := changes[0].Op; op == AddAddress || op == DeleteAddress || op == DeleteTunnel {
		for n < min(len(changes), mostAtOnce) && changes[n].Op == op {
			n++
		}
	}
	return slices.Clone(changes[:n]), changes[n:]
}

func executeAll(k *kernel, changes []Change) []error {
	switch {
	case len(changes) > 1 && changes[0].Op == DeleteTunnel:
		var names []string
		for _, c := range changes {
			names = append(names, c.Tunnel.Name)
		}
		return k.deleteLinks(names)
	case len(changes) > 1:
		return k.addressesAtOnce(changes)
	}
	errs := make([]error, len(changes))
	for i, c := range changes {
		errs[i] = k.execute(c)
	}
	return errs
}

// verify reads back that the added addresses are there and carry the mark, the
// first time; and waits until they take packets.
func (m *Manager) verify(k *kernel, done []Change) error {
	added := slices.ContainsFunc(done, func(c Change) bool { return c.Op == AddAddress })
	if !added {
		return nil
	}
	if m.proved {
		return errors.Join(k.readMade(done), k.settle(done))
	}
	if err := k.table(); err != nil {
		return err
	}
	have := k.have
	var errs []error
	for _, c := range done {
		if c.Op != AddAddress {
			continue
		}
		i := slices.IndexFunc(have.Addresses, func(p Present) bool { return p.key() == c.Address.key() && p.Bits == c.Address.Bits })
		switch {
		case i < 0:
			errs = append(errs, opError("verify", c.Address.object(), errors.New("somebody removed it at once")))
		case !have.Addresses[i].Ours:
			err := fmt.Errorf("the kernel does not keep our mark: %w", errors.ErrUnsupported)
			errs = append(errs, opError("verify", c.Address.object(), errors.Join(err, k.deleteAddress(c.Address))))
		}
	}
	m.proved = m.proved || len(errs) == 0
	return errors.Join(append(errs, k.settle(done))...)
}
