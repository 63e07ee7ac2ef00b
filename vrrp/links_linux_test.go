package vrrp

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestInterfacesAndAddressesComeAndGo(t *testing.T) {
	ha, _, _, _ := pair(t)
	a := start(t, ha, Config{Interface: "dum0", VRID: 9})
	fault := func(want Reason) {
		t.Helper()
		a.wait("in Fault: "+want.String(), func(s Status) bool {
			return s.State == Fault && len(s.Faults) == 1 && s.Faults[0] == want
		})
	}
	add := func() {
		on(t, ha, func() error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.Index = "dum0", 77 // the same index each time
			if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "dum1"}); err != nil {
				return err
			}
			peer, err := netlink.LinkByName("dum1")
			if err == nil {
				err = netlink.LinkSetUp(peer)
			}
			if err != nil {
				return err
			}
			l, err := netlink.LinkByName("dum0")
			if err == nil {
				err = netlink.AddrAdd(l, nlAddr(t, "10.5.0.1/24"))
			}
			if err == nil {
				err = netlink.LinkSetUp(l)
			}
			return err
		})
	}
	fault(ReasonInterface)
	add()
	a.waitState(Active)
	change(t, ha, "dum0", func(l netlink.Link) error { return netlink.LinkSetDown(l) })
	fault(ReasonLink)
	change(t, ha, "dum0", func(l netlink.Link) error { return netlink.LinkSetUp(l) })
	a.waitState(Active)
	change(t, ha, "dum0", func(l netlink.Link) error { return netlink.AddrDel(l, nlAddr(t, "10.5.0.1/24")) })
	fault(ReasonSource)
	change(t, ha, "dum0", func(l netlink.Link) error { return netlink.AddrAdd(l, nlAddr(t, "10.5.0.2/24")) })
	if s := a.waitState(Active); s.Source != netip.MustParseAddr("10.5.0.2") {
		t.Errorf("it sends from %v", s.Source)
	}
	for _, rename := range [][2]string{{"dum0", "other"}, {"other", "dum0"}} {
		change(t, ha, rename[0], func(l netlink.Link) error {
			if err := netlink.LinkSetDown(l); err != nil {
				return err
			}
			return netlink.LinkSetName(l, rename[1])
		})
		if rename[1] == "other" {
			fault(ReasonInterface)
		}
	}
	change(t, ha, "dum0", func(l netlink.Link) error { return netlink.LinkSetUp(l) })
	a.waitState(Active)
	change(t, ha, "dum0", func(l netlink.Link) error { return netlink.LinkDel(l) })
	fault(ReasonInterface)
	add()
	a.waitState(Active)
}

// An interface that is replaced by another of the same name and index within one
// look has lost its groups: the socket must be another one.
func TestAnInterfaceThatIsReplacedHearsAgain(t *testing.T) {
	ha, hb, _, _ := pair(t)
	start(t, ha, Config{Priority: 200}).waitState(Active)
	b := start(t, hb, Config{Priority: 100, IgnoreLink: true})
	b.wait("backup", func(s Status) bool { return s.ActivePriority == 200 })
	change(t, hb, "eth0", func(l netlink.Link) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = "vlan0", l.Attrs().Index
		return netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE})
	})
	c := start(t, hb, Config{Name: "c", Interface: "vlan0", Priority: 50, Addresses: addrs("10.0.0.100")})
	for range 3 {
		change(t, hb, "vlan0", func(l netlink.Link) error {
			if err := netlink.LinkDel(l); err != nil {
				return err
			}
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.Index, attrs.ParentIndex = "vlan0", l.Attrs().Index, l.Attrs().ParentIndex
			if err := netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
				return err
			}
			l, err := netlink.LinkByName("vlan0")
			if err == nil {
				err = netlink.AddrAdd(l, nlAddr(t, "10.0.0.3/24"))
			}
			if err == nil {
				err = netlink.LinkSetUp(l)
			}
			return err
		})
		n := c.Router.Status().Stats.Received
		c.wait("hearing", func(s Status) bool { return s.Stats.Received > n+3 && s.State == Backup })
	}
}

func TestTheSourceIsNeverAVirtualAddress(t *testing.T) {
	ha, hb, _, _ := pair(t)
	a := start(t, ha, Config{Priority: 200, Addresses: addrs("10.0.0.100")})
	a.waitState(Active)
	change(t, ha, "eth0", func(l netlink.Link) error { return netlink.AddrAdd(l, nlAddr(t, "10.0.0.100/24")) })
	change(t, ha, "eth0", func(l netlink.Link) error { return netlink.AddrDel(l, nlAddr(t, "10.0.0.1/24")) })
	a.waitState(Fault)
	change(t, ha, "eth0", func(l netlink.Link) error { return netlink.AddrAdd(l, nlAddr(t, "10.0.0.3/24")) })
	if s := a.waitState(Active); s.Source != netip.MustParseAddr("10.0.0.3") {
		t.Errorf("it sends from %v", s.Source)
	}
	b := start(t, hb, Config{Priority: 100})
	b.wait("backup of the new address", func(s Status) bool { return s.Active == netip.MustParseAddr("10.0.0.3") })
}
