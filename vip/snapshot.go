package vip

import (
	"net"
	"slices"
)

// A Snapshot is what the kernel had at one moment, and what of it is ours.
type Snapshot struct {
	Mark      uint8 // whose view it is
	Links     []Link
	Addresses []Present
	// All and Default are net/ipv4/conf/all and default.
	All, Default Conf
	// Originals are the settings that we have changed: Value is what we made of
	// them, Was is what they go back to.
	Originals []Setting
	// Ports are the GUE ports that are ours.
	Ports []GUE
	// Filter is our table of nftables, nil if there is none. Apply and the like do
	// not look for it where nobody has wanted one.
	Filter *Filter

	partial    bool  // only some interfaces, with their addresses
	unfiltered error // why there can be no Filter
}

// A Link is a network interface.
type Link struct {
	Index int
	Name  string
	Alias string
	Up    bool // administratively
	Ours  bool // a device of this mark
	Conf  Conf // its IPv4 settings; nil if it has no IPv4
	// MAC is the address by which neighbours reach it; nil if it has no neighbours
	// that learn (lo, tunnels, dummy devices).
	MAC     net.HardwareAddr
	Carrier bool // frames can leave
	Parent  int  // index of the interface below a VLAN or macvlan, 0 if there is none
	Router  bool // it forwards IPv6
	group   uint32
}

// A Present is an address that is there.
type Present struct {
	Address
	Index     int   // of the interface
	Proto     uint8 // the kernel's IFA_PROTO: who made it; 0 if nobody said
	Ours      bool  // it carries our mark
	Secondary bool  // IPv4: it goes when the first of its subnet goes
	Tentative bool  // IPv6: not usable yet, or found to be a duplicate
	Preferred bool  // it may be chosen as a source
}

func (s *Snapshot) link(name string) *Link {
	i := slices.IndexFunc(s.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Links[i]
}

// conf is the settings of an interface or of "all", nil if there are none.
func (s *Snapshot) conf(name string) Conf {
	if name == allInterfaces {
		return s.All
	}
	if link := s.link(name); link != nil {
		return link.Conf
	}
	return nil
}

func (s *Snapshot) original(name string, key Key) (Setting, bool) {
	for _, set := range s.Originals {
		if set.Interface == name && set.Key == key {
			return set, true
		}
	}
	return Setting{}, false
}

// satisfies tells whether what is there is what is wanted.
func (p Present) satisfies(want Address) bool {
	return p.key() == want.key() && p.Bits == want.Bits && !p.Tentative &&
		(want.Label == "" || p.Label == want.Label) &&
		(want.Addr.Is6() || p.Scope == want.Scope) &&
		(want.Addr.Is4() || !p.Preferred)
}
