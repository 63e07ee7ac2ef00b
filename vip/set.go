package vip

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
)

// A Set is a part of what a Manager holds, held and released by itself: the
// addresses of one VRRP router among several. The kernel gets the union of what
// is held. Its methods may be called at the same time by several goroutines.
type Set struct {
	m    *Manager
	name string // empty for the Manager's own

	// Guarded by Manager.mu.
	state  State // what is held, or will be by Acquire
	held   bool
	closed bool
	index  map[string]int // of its interfaces, when the state was applied
}

// Set adds a Set that is to hold state, and holds nothing yet. The name is for
// Status and errors: not empty, and not that of another Set. The same address in
// two Sets, or in a Set and the Manager's own State, is an error, whether held or
// not; so are devices that differ under one name, and one IP with and without
// NoAccept. Equal devices, and interfaces
// on which ARP is suppressed, may be shared: they stay until the last has gone.
// The errors match fs.ErrExist or fs.ErrInvalid.
//
// A Set needs the Manager to be open, and its Run to watch and to repeat
// announcements. Run releases all Sets when it ends.
func (m *Manager) Set(name string, state State) (*Set, error) {
	if name == "" {
		return nil, opError("add set", "", invalid("it has no name"))
	}
	if err := state.Validate(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &Set{m: m, name: name, state: state.normal()}
	if m.sets[name] != nil {
		return nil, opError("add set", fmt.Sprintf("%q", name), fmt.Errorf("there is one of this name: %w", fs.ErrExist))
	}
	if err := m.free(s, s.state); err != nil {
		return nil, err
	}
	m.sets[name] = s
	return s, nil
}

// Name is the name it was added by.
func (s *Set) Name() string { return s.name }

func (s *Set) object() string {
	if s.name == "" {
		return ""
	}
	return fmt.Sprintf("set %q", s.name)
}

// Acquire puts in place what the Set is to hold. What could not be had stays
// wanted, as with Manager.Apply.
func (s *Set) Acquire(ctx context.Context) error {
	_, err := s.m.hold(ctx, "acquire", s, func(s *Set) (bool, State) { return true, s.state })
	return err
}

// Release takes away what the Set holds, and no other holds, and ends its
// announcements at once. The State stays for the next Acquire.
func (s *Set) Release(ctx context.Context) error {
	s.m.herald.drop(s) // and does not wait until other Sets are through
	_, err := s.m.hold(ctx, "release", s, func(s *Set) (bool, State) { return false, s.state })
	return err
}

// Update gives the Set another State: at once if it is held, touching only what
// differs, else with the next Acquire. It returns what it changed. What it adds to
// a Set that has been announced is announced too. After an error of the kernel the
// new State is what is wanted; what another Set has changes nothing.
func (s *Set) Update(ctx context.Context, state State) ([]Change, error) {
	if err := state.Validate(); err != nil {
		return nil, err
	}
	state = state.normal()
	s.m.mu.Lock()
	if !s.held && !s.closed {
		defer s.m.mu.Unlock()
		if err := s.m.free(s, state); err != nil {
			return nil, err
		}
		s.state = state
		return nil, nil
	}
	s.m.mu.Unlock()
	return s.m.hold(ctx, "update", s, func(s *Set) (bool, State) { return s.held, state })
}

// Close releases the Set, unless the Manager is closed, and takes it from the
// Manager: its name and addresses are free again. It may be called again.
func (s *Set) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseWithin)
	defer cancel()
	err := s.Release(ctx)
	if errors.Is(err, net.ErrClosed) {
		err = nil // the Set or the Manager
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.held = false
		delete(s.m.sets, s.name)
		s.m.herald.drop(s)
	}
	return opError("close", s.object(), err)
}

// learn notes which interfaces the state is about.
func (s *Set) learn(links []Link) {
	index := map[string]int{}
	for _, name := range s.state.names() {
		for _, link := range links {
			if link.Name == name {
				index[name] = link.Index
			}
		}
	}
	s.index = index
}

// relearn learns the interfaces that have come back as new ones.
func (s *Set) relearn(links []Link) {
	for _, name := range s.state.names() {
		var index int
		alive := false
		for _, link := range links {
			alive = alive || link.Index == s.index[name]
			if link.Name == name {
				index = link.Index
			}
		}
		if !alive && index != 0 {
			s.index[name] = index
		}
	}
}
