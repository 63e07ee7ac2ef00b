package vip

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
)

// claims are what one or several states hold.
type claims struct {
	addresses map[addressKey]bool
	devices   map[string]bool
	ports     map[GUE]bool
	settings  map[settingKey]bool
	refused   []netip.Addr // packets to these
	own       []netip.Addr // refused by what is wanted itself, where that is a union
}

// claim collects what states hold. They are normal.
func claim(states ...State) claims {
	c := claims{map[addressKey]bool{}, map[string]bool{}, map[GUE]bool{}, map[settingKey]bool{}, refused(states...), nil}
	for _, s := range states {
		for _, a := range s.Addresses {
			c.addresses[a.key()] = true
		}
		for _, t := range s.Tunnels {
			c.devices[t.Name] = true
			c.settings[settingKey{t.Name, RPFilter}] = true
			if t.GUEPort != 0 && !t.Existing {
				c.ports[t.gue()] = true
			}
		}
		for _, v := range s.VirtualMACs {
			c.devices[v.Name] = true
			for key := range keys {
				c.settings[settingKey{v.Name, key}] = true
			}
		}
		for _, name := range s.quiet() {
			for key := range quietValue {
				c.settings[settingKey{name, key}] = true
			}
		}
	}
	return c
}

// union is one state that is all of these. What several have in common is in it
// once: the first one's. Which addresses refuse packets is not in it: see refused.
func union(states []State) State {
	var all State
	seen := map[any]bool{}
	once := func(key any) bool {
		was := seen[key]
		seen[key] = true
		return !was
	}
	for _, s := range states {
		for _, a := range s.Addresses {
			if once(a.key()) {
				all.Addresses = append(all.Addresses, a)
			}
		}
		for _, t := range s.Tunnels {
			if once("device " + t.Name) {
				all.Tunnels = append(all.Tunnels, t)
			}
		}
		for _, v := range s.VirtualMACs {
			if once("device " + v.Name) {
				all.VirtualMACs = append(all.VirtualMACs, v)
			}
		}
		for _, name := range s.SuppressARP {
			if once("arp " + name) {
				all.SuppressARP = append(all.SuppressARP, name)
			}
		}
	}
	return all
}

// clash tells what two states, both normal, cannot have at the same time: the
// same address, or devices that differ under one name, or an IP that one accepts
// packets for and the other does not. owner has the second.
func clash(want, other State, owner string) error {
	taken := func(object string) error {
		return opError("share", object, fmt.Errorf("%s has it: %w", owner, fs.ErrExist))
	}
	for _, a := range want.Addresses {
		for _, b := range other.Addresses {
			if a.key() == b.key() || a.Addr == b.Addr && want.NoAccept != other.NoAccept {
				return taken(a.object())
			}
		}
	}
	for _, t := range want.Tunnels {
		if slices.ContainsFunc(other.Tunnels, func(o Tunnel) bool { return o.Name == t.Name && o != t }) {
			return taken(t.object())
		}
	}
	for _, v := range want.VirtualMACs {
		if slices.ContainsFunc(other.VirtualMACs, func(o VirtualMAC) bool { return o != v && (o.Name == v.Name || o.place() == v.place()) }) {
			return taken(v.object())
		}
	}
	return nil
}

// quiet are the interfaces on which ARP must not tell of others' addresses.
func (s State) quiet() []string {
	list := slices.Clone(s.SuppressARP)
	for _, v := range s.VirtualMACs {
		if !v.IPv6 && !slices.Contains(list, v.Parent) {
			list = append(list, v.Parent)
		}
	}
	return list
}

// names are the interfaces that a normal state is about, each once.
func (s State) names() []string {
	var list []string
	for _, a := range s.Addresses {
		list = append(list, a.Interface)
	}
	for _, t := range s.Tunnels {
		list = append(list, t.Name)
	}
	for _, v := range s.VirtualMACs {
		list = append(list, v.Name, v.Parent)
	}
	list = append(list, s.SuppressARP...)
	slices.Sort(list)
	return slices.Compact(list)
}

// same tells whether two normal states are one and the same.
func (s State) same(other State) bool {
	return slices.Equal(s.Addresses, other.Addresses) && slices.Equal(s.Tunnels, other.Tunnels) &&
		slices.Equal(s.VirtualMACs, other.VirtualMACs) && slices.Equal(s.SuppressARP, other.SuppressARP) &&
		s.NoAccept == other.NoAccept
}
