package vip

import "fmt"

// A Setting is a kernel setting of IPv4 on one interface
// (net/ipv4/conf/INTERFACE/KEY).
type Setting struct {
	Interface string // the name, or "all"
	Key       Key
	Value     int
	Was       int // the value before; for a restored setting, the one that was ours
}

// String is the setting as sysctl reads it: with slashes, because an interface
// may have a dot in its name.
func (s Setting) String() string { return fmt.Sprintf("%s=%d", s.object(), s.Value) }

func (s Setting) object() string { return "net/ipv4/conf/" + s.Interface + "/" + string(s.Key) }

// Key names a setting below net/ipv4/conf.
type Key string

// The settings that a Manager may change.
const (
	// ARPIgnore 1 answers ARP only for addresses of the interface asked on.
	ARPIgnore Key = "arp_ignore"
	// ARPAnnounce 2 asks by ARP only with an address of the interface asked from;
	// 1 would still tell the virtual address to hosts of its subnet.
	ARPAnnounce Key = "arp_announce"
	// RPFilter 2 takes packets whose source is reachable by any interface, as
	// those of clients that come out of a tunnel; 1 drops them.
	RPFilter Key = "rp_filter"
	// ARPFilter 1 answers ARP only on the interface by which routes lead to who
	// asks.
	ARPFilter Key = "arp_filter"
	// AcceptLocal 1 takes packets that come from an address of this machine.
	AcceptLocal Key = "accept_local"
	// PromoteSecondaries 1 keeps the other addresses of a subnet when the first
	// one goes.
	PromoteSecondaries Key = "promote_secondaries"
)

// keys has the position of each in the kernel's array (uapi linux/ip.h,
// IPV4_DEVCONF_*, counted from 1).
var keys = map[Key]int{RPFilter: 8, ARPFilter: 13, ARPAnnounce: 18, ARPIgnore: 19, PromoteSecondaries: 20, AcceptLocal: 23}

// Conf has the settings of one interface, of "all" or of "default".
type Conf map[Key]int

// allInterfaces is the name of the settings that count for every interface.
const allInterfaces = "all"

// quiet tells whether the kernel's effective value, the larger of the
// interface's and of all's, keeps ARP silent about addresses of lo and tunnels.
// arp_ignore 3 answers for global addresses, and 8 for none at all, not even
// the machine's own; an arp_announce above 2 counts as 0 (net/ipv4/arp.c).
func quiet(key Key, value int) bool {
	if key == ARPIgnore {
		return value == 1 || value == 2
	}
	return value == 2
}

// quietValue is what makes an interface quiet.
var quietValue = map[Key]int{ARPIgnore: 1, ARPAnnounce: 2}
