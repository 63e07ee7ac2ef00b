package vip

import (
	"fmt"
	"net/netip"
	"strconv"
)

// A Change is one step from what there is to what is wanted.
type Change struct {
	Op      Op
	Address Address // of AddAddress, DeleteAddress
	Tunnel  Tunnel  // of AddTunnel; of DeleteTunnel its Name
	Port    GUE     // of OpenPort, ClosePort
	Setting Setting // of ChangeSetting, RestoreSetting
	// VirtualMAC is of AddVirtualMAC.
	VirtualMAC VirtualMAC
	// Filter is of AddFilter, ReduceFilter.
	Filter Filter

	mark     uint8
	settings []Setting    // that come with a new virtual MAC
	differs  []netip.Addr // what is added to or deleted from a filter that is whole
	fresh    bool         // there was no filter
}

// Op is the kind of a Change.
type Op uint8

// The kinds of changes.
const (
	ChangeSetting  Op = iota + 1 // its original value is noted first
	RestoreSetting               // if it is still as we set it
	OpenPort
	ClosePort
	AddTunnel
	DeleteTunnel // also of a virtual MAC
	AddAddress
	DeleteAddress
	AddVirtualMAC
	AddFilter    // also in place of what somebody has made of ours, or with more addresses
	ReduceFilter // to fewer addresses
	DeleteFilter
)

var opNames = [...]string{
	ChangeSetting: "change setting", RestoreSetting: "restore setting", OpenPort: "open", ClosePort: "close",
	AddTunnel: "add", DeleteTunnel: "delete", AddAddress: "add address", DeleteAddress: "delete address",
	AddVirtualMAC: "add", AddFilter: "add", ReduceFilter: "reduce", DeleteFilter: "delete",
}

// String is the operation in words.
func (o Op) String() string {
	if o > 0 && int(o) < len(opNames) {
		return opNames[o]
	}
	return "op " + strconv.Itoa(int(o))
}

// String is the change as a person would type it.
func (c Change) String() string {
	switch c.Op {
	case ChangeSetting, RestoreSetting:
		return "sysctl -w " + c.Setting.String()
	case OpenPort:
		return "ip fou add " + c.Port.String()
	case ClosePort:
		return "ip fou del " + c.Port.String()
	case AddTunnel:
		return c.Tunnel.command(c.mark)
	case AddVirtualMAC:
		return c.VirtualMAC.command(c.mark, c.settings)
	case AddFilter, ReduceFilter:
		switch {
		case c.differs == nil:
			return c.Filter.command(c.mark, c.fresh)
		case c.Op == AddFilter:
			return editing("add", c.differs, c.mark)
		}
		return editing("delete", c.differs, c.mark)
	case DeleteFilter:
		return "nft delete " + filterObject(c.mark)
	case DeleteTunnel:
		return "ip link delete " + c.Tunnel.Name
	case AddAddress:
		text := "ip address add " + c.Address.String()
		if c.Address.Addr.Is6() {
			text += " nodad preferred_lft 0"
		}
		return text
	case DeleteAddress:
		return "ip address del " + c.Address.object()
	}
	return c.Op.String()
}

func (t Tunnel) command(mark uint8) string {
	text := fmt.Sprintf("ip link add %s type %v local %v", t.Name, t.Kind, t.Local)
	if t.Kind == IP6Tunnel || t.Kind == SIT {
		text += " mode any"
	}
	if t.Checksum {
		text += " csum"
	}
	text += " && ip link set " + t.Name
	if t.MTU != 0 {
		text += " mtu " + strconv.Itoa(t.MTU)
	}
	return text + " up alias " + strconv.Quote(t.alias(mark))
}

// object names what is changed, the same for its making and its removal.
func (c Change) object() string {
	switch c.Op {
	case ChangeSetting, RestoreSetting:
		return c.Setting.object()
	case OpenPort, ClosePort:
		return c.Port.String()
	case AddTunnel, DeleteTunnel:
		return c.Tunnel.object()
	case AddVirtualMAC:
		return c.VirtualMAC.object()
	case AddFilter, ReduceFilter, DeleteFilter:
		return filterObject(c.mark)
	}
	return c.Address.object()
}

// device is the interface that the change is about, empty for a port or filter.
func (c Change) device() string {
	switch c.Op {
	case ChangeSetting, RestoreSetting:
		return c.Setting.Interface
	case AddTunnel, DeleteTunnel:
		return c.Tunnel.Name
	case AddVirtualMAC:
		return c.VirtualMAC.Name
	}
	return c.Address.Interface
}

// removes tells whether the change takes something of ours away.
func (c Change) removes() bool {
	switch c.Op {
	case RestoreSetting, ClosePort, DeleteTunnel, DeleteAddress, ReduceFilter, DeleteFilter:
		return true
	}
	return false
}

// split parts the changes that make or remake what is wanted from those that
// only take away. Taking away to make anew is making.
func split(changes []Change) (making, removing []Change) {
	again := map[any]bool{}
	for _, c := range changes {
		switch c.Op {
		case AddAddress:
			again[c.Address.key()] = true
		case AddTunnel:
			again[c.Tunnel.Name] = true
		case AddVirtualMAC:
			again[c.VirtualMAC.Name] = true
		}
	}
	for _, c := range changes {
		remakes := c.Op == DeleteAddress && again[c.Address.key()] || c.Op == DeleteTunnel && again[c.Tunnel.Name]
		guards := c.Setting.Key == PromoteSecondaries
		if guards || remakes || !c.removes() {
			making = append(making, c)
		}
		if guards || !remakes && c.removes() {
			removing = append(removing, c)
		}
	}
	return making, removing
}

// subnet tells whether deleting the primary address a takes b with it.
func subnet(a, b Present) bool {
	return a.Index == b.Index && a.Addr.Is4() && b.Addr.Is4() && a.Bits == b.Bits && b.Secondary &&
		netip.PrefixFrom(a.Addr, a.Bits).Masked() == netip.PrefixFrom(b.Addr, b.Bits).Masked()
}
