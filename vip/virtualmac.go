package vip

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// A VirtualMAC is a device with the virtual router's own MAC (RFC 9568 section
// 7.3): neighbours keep their entries when another router takes over. Addresses on
// it (Address.Interface is its Name) are answered for, and announced, with that
// MAC alone: the parent's never shows for them in ARP or neighbour discovery.
// Answers to clients leave by the parent, as routes say.
//
// It is a macvlan in bridge mode, so that what the peers send from the same MAC
// is also heard on the parent: in private mode the device alone would have it. It
// is there only while held; else the network card drops frames to that MAC.
//
// The settings that keep ARP silent about other interfaces' addresses are changed
// on the parent, as SuppressARP does, and given back. The device has its own
// settings and goes with them: it takes no router advertisements and makes no
// link-local address. net/ipv4/conf/all/arp_filter must be 0.
type VirtualMAC struct {
	// Name is the name of the device; empty is "vrrp.VRID", or "vrrp6.VRID".
	Name string
	// Parent is the interface that it is on, Ethernet or alike.
	Parent string
	// VRID is the virtual router's number, 1 to 255, the last byte of the MAC.
	VRID uint8
	// IPv6 says which of the two MACs of a VRID it is: 00:00:5e:00:01:VRID for
	// IPv4, 00:00:5e:00:02:VRID for IPv6.
	IPv6 bool
}

// MAC is the address of the device.
func (v VirtualMAC) MAC() net.HardwareAddr {
	mac := net.HardwareAddr{0, 0, 0x5e, 0, 1, v.VRID}
	if v.IPv6 {
		mac[4] = 2
	}
	return mac
}

func (v VirtualMAC) normal() VirtualMAC {
	if v.Name != "" {
		return v
	}
	v.Name = "vrrp." + strconv.Itoa(int(v.VRID))
	if v.IPv6 {
		v.Name = "vrrp6." + strconv.Itoa(int(v.VRID))
	}
	return v
}

func (v VirtualMAC) object() string { return "device " + v.normal().Name }

// place is what there can be only one of: the MAC on the parent.
func (v VirtualMAC) place() string { return v.MAC().String() + " on " + v.Parent }

func (v VirtualMAC) validate() error {
	v = v.normal()
	if err := validInterface(v.Name); err != nil {
		return err
	}
	switch {
	case v.VRID == 0:
		return invalid("a virtual MAC needs a VRID, 1 to 255")
	case v.Name == "all" || v.Name == "default" || strings.HasPrefix(v.Name, tempPrefix):
		return invalid("the name %q is reserved", v.Name)
	case v.Parent == v.Name:
		return invalid("%q on itself", v.Name)
	}
	return validInterface(v.Parent)
}

// alias marks the device as ours.
func (v VirtualMAC) alias(mark uint8) string {
	return fmt.Sprintf("%svirtual MAC of VRID %d", aliasPrefix(mark), v.VRID)
}

func (v VirtualMAC) command(mark uint8, settings []Setting) string {
	text := fmt.Sprintf("ip link add link %s name %s address %v type macvlan mode bridge && ip link set %s addrgenmode none", v.Parent, v.Name, v.MAC(), v.Name)
	for _, s := range settings {
		text += " && sysctl -w " + s.String()
	}
	return text + fmt.Sprintf(" && sysctl -w net/ipv6/conf/%s/accept_ra=0 && ip link set %s up alias %s", v.Name, v.Name, strconv.Quote(v.alias(mark)))
}

// virtualSettings are those that the device needs and a new one, or the one there
// is, does not have. The device hears every broadcast that the parent hears: it
// must not answer for the parent's addresses (arp_ignore, arp_announce), but must
// answer though no route leads by it (arp_filter), take clients that the routes
// have behind the parent (rp_filter), and what this very machine sends from its
// own addresses (accept_local).
func virtualSettings(name string, conf, all Conf) []Setting {
	want := []Setting{{Key: ARPFilter, Value: 0}, {Key: AcceptLocal, Value: 1}, {Key: PromoteSecondaries, Value: 1}}
	for _, key := range []Key{ARPIgnore, ARPAnnounce} {
		if !quiet(key, conf[key]) {
			want = append(want, Setting{Key: key, Value: quietValue[key]})
		}
	}
	if max(conf[RPFilter], all[RPFilter]) == 1 {
		want = append(want, Setting{Key: RPFilter, Value: 2})
	}
	var need []Setting
	for _, s := range want {
		if conf[s.Key] != s.Value {
			need = append(need, Setting{Interface: name, Key: s.Key, Value: s.Value, Was: conf[s.Key]})
		}
	}
	return need
}
