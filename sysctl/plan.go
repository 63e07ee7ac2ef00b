package sysctl

import (
	"fmt"
	"io/fs"
	"maps"
)

// Plan is the smallest list of changes that makes a kernel with the values in
// have as wanted. Nothing is read or written: Plan alone is the dry run.
//
// Settings are merged as by [Merge]. What is right already gives no change.
// Changes come in the order of the settings, but those that reset others
// first; the changes after them are planned upon what the kernel makes of it.
// Settings of an interface are judged as they will be with the final values of
// "all", so those that an interface gets before "all" is lowered may stand
// before it. An interface without an address may follow "default"; Plan
// supposes that it does not, and Apply finds out.
//
// have needs all keys of [Keys]: a missing one gives an error that matches
// fs.ErrNotExist, unless the setting is Optional. Other errors match ErrKey,
// ErrRange and ErrConflict; the last also where "all" stands against what an
// interface is to do.
func Plan(have Values, want []Setting) ([]Change, error) {
	changes, err := makePlan(have, want)
	return changes, opError("plan", err)
}

func makePlan(have Values, want []Setting) ([]Change, error) {
	want, err := merge(want)
	if err != nil {
		return nil, err
	}
	state := maps.Clone(have)
	if state == nil {
		state = make(Values)
	}
	planned := make([]*Change, len(want))
	for phase := range 4 {
		for i, s := range want {
			if phaseOf(s.Key) != phase {
				continue
			}
			if planned[i], err = planOne(state, s); err != nil {
				return nil, err
			}
		}
	}
	var changes []Change
	for _, c := range planned {
		if c != nil {
			changes = append(changes, *c)
		}
	}
	return changes, nil
}

// Keys are the keys that Plan and Check need to know for these settings: their
// own, and those of "all" that count as well. Invalid keys are left out.
func Keys(want []Setting) []Key {
	seen := make(map[Key]bool)
	var keys []Key
	for _, s := range want {
		if s.Key.Validate() != nil {
			continue
		}
		for _, k := range append([]Key{s.Key}, companions(s.Key)...) {
			if !seen[k] {
				seen[k] = true
				keys = append(keys, k)
			}
		}
	}
	return keys
}

// phaseOf orders the planning, not the writing: first what resets others, then
// what counts for other keys, then the rest.
func phaseOf(k Key) int {
	c := k.perInterface()
	switch {
	case rank(k) < 2:
		return rank(k)
	case c != nil && (c[3] == "all" || c[4] == "forwarding"):
		return 2
	}
	return 3
}

// planOne plans one setting and brings the state up to date.
func planOne(state Values, s Setting) (*Change, error) {
	now, ok := Effective(state, s.Key)
	if !ok {
		if s.Optional {
			return nil, nil
		}
		return nil, fmt.Errorf("%s: %w", s.Key, fs.ErrNotExist)
	}
	if s.Want.Allows(now) {
		return nil, nil
	}
	old := state[s.Key]
	value, ok := choose(state, s)
	if !ok {
		return nil, fmt.Errorf("%w: %s is wanted %s (%s), but %s is %s, and %s: set that one too",
			ErrConflict, s.Key, s.Want, because(s.Reason), companions(s.Key)[0], state[companions(s.Key)[0]], RuleOf(s.Key))
	}
	c := &Change{Key: s.Key, Old: old, New: value, Reason: s.Reason}
	state[s.Key] = value
	c.Resets = resets(state, *c)
	if rank(s.Key) == 0 {
		for _, r := range c.Resets {
			state[r.Key] = r.New
		}
	}
	return c, nil
}

// choose is the first value of the key that makes the effective one right. It
// leaves state as it was.
func choose(state Values, s Setting) (string, bool) {
	old := state[s.Key]
	defer func() { state[s.Key] = old }()
	for _, v := range s.Want.candidates(old) {
		state[s.Key] = v
		if now, _ := Effective(state, s.Key); s.Want.Allows(now) {
			return v, true
		}
	}
	return "", false
}

// resets are the keys in state that get another value with the change, as in
// the kernel's inet_forward_change (net/ipv4/devinet.c) and
// addrconf_forward_change (net/ipv6/addrconf.c); with a change of "default",
// those that may get one. The other name of the key is brought up to date in
// state, but is no key of its own.
func resets(state Values, c Change) []Reset {
	family, name := resetGroup(c.Key)
	if family == "" {
		return nil
	}
	var rs []Reset
	for _, k := range sortedKeys(state) {
		old := state[k]
		iface, n, ok := k.conf(family)
		switch {
		case canonical(k) == canonical(c.Key):
			state[k] = c.New
		case ok && n == name && (rank(c.Key) == 0 || iface != "all" && normal(old) == normal(c.Old)):
			rs = append(rs, Reset{k, old, c.New})
		case ok && n == "accept_redirects" && iface == "all" && canonical(c.Key) == IPv4("ip_forward"):
			rs = append(rs, Reset{k, old, zeroOrOne(c.New == "0")})
		}
	}
	return rs
}
