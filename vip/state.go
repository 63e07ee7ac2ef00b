package vip

import (
	"net/netip"
	"slices"
)

// A State is all that a Manager should hold. The zero State is nothing.
type State struct {
	// Addresses are the wanted addresses, each IP once per interface.
	Addresses []Address
	// Tunnels are the tunnel devices of a real server behind a TUN director.
	Tunnels []Tunnel
	// VirtualMACs are the devices with a virtual router's own MAC.
	VirtualMACs []VirtualMAC
	// SuppressARP are the interfaces by which requests come in and answers leave,
	// or "all" (with those that come later). On them ARP does not answer for, nor
	// tell about, addresses of other interfaces: a real server must not draw the
	// virtual address, which it has on lo or a tunnel device, to itself. It is in
	// force before the first address comes, and until the last has gone. Naming
	// lo has no effect, so it is refused. IPv6 needs nothing of the kind.
	SuppressARP []string
	// NoAccept is the Accept_Mode False of RFC 9568 (section 6.1): packets that
	// this machine, itself among the senders, would deliver to one of Addresses
	// are dropped, by a table of nftables of our own (see Filter). The addresses are
	// resolved and announced as ever: ARP and neighbour discovery (ICMPv6 types 133
	// to 137) pass, and so does what is forwarded, as through a router with virtual
	// addresses. The table is there before the first address comes, and until the
	// last has gone. False accepts, as any address does.
	//
	// The owner of the addresses (VRRP priority 255) must accept. So must an IPVS
	// director: IPVS takes packets where they are delivered, after this filter.
	// Without nf_tables in the kernel, none of Addresses is added, and the error
	// matches errors.ErrUnsupported.
	NoAccept bool
}

// DirectRouting is the State of a real server behind a DR director (ipvsadm -g):
// the virtual addresses on lo, and, if one of them is IPv4, ARP suppressed on the
// ingress interfaces; without ingress on "all".
func DirectRouting(vips []netip.Addr, ingress ...string) State {
	var s State
	for _, addr := range vips {
		s.Addresses = append(s.Addresses, Address{Interface: "lo", Addr: addr})
	}
	s.SuppressARP = suppress(vips, ingress)
	return s
}

// Tunneling is the State of a real server behind a TUN director (ipvsadm -i): the
// tunnel device, the virtual addresses on it, and ARP suppressed on ingress as in
// DirectRouting. Of t.Kind only IPIP or GRE matters: the families of Local and of
// the addresses say which device it takes. IPv6 in IPv4 without GRE takes a
// device of its own, which is named t.Name+"-6".
func Tunneling(t Tunnel, vips []netip.Addr, ingress ...string) State {
	s := State{SuppressARP: suppress(vips, ingress)}
	t = t.normal()
	for _, addr := range vips {
		of := t
		if !t.Existing {
			of.Kind = t.Kind.fit(t.Local, addr.Unmap())
		}
		if of.Kind == SIT && t.Kind == IPIP {
			of.Name += "-6"
		}
		if !slices.Contains(s.Tunnels, of) {
			s.Tunnels = append(s.Tunnels, of)
		}
		s.Addresses = append(s.Addresses, Address{Interface: of.Name, Addr: addr})
	}
	return s
}

func suppress(vips []netip.Addr, ingress []string) []string {
	if !slices.ContainsFunc(vips, func(a netip.Addr) bool { return a.Unmap().Is4() }) {
		return nil
	}
	if len(ingress) == 0 {
		return []string{allInterfaces}
	}
	return slices.Clone(ingress)
}

// Validate tells what could never be applied; the error matches fs.ErrInvalid.
func (s State) Validate() error {
	seen := map[any]bool{}
	once := func(key any) error {
		if seen[key] {
			return invalid("wanted twice")
		}
		seen[key] = true
		return nil
	}
	check := func(object string, key any, err error) error {
		if err == nil {
			err = once(key)
		}
		return opError("validate", object, err)
	}
	for _, a := range s.Addresses {
		if err := check(a.object(), a.key(), a.validate()); err != nil {
			return err
		}
	}
	for _, t := range s.Tunnels {
		if err := check(t.object(), "device "+t.normal().Name, t.validate()); err != nil {
			return err
		}
	}
	for _, v := range s.VirtualMACs {
		if err := check(v.object(), "device "+v.normal().Name, v.validate()); err != nil {
			return err
		}
		if err := check(v.object(), v.place(), nil); err != nil {
			return err
		}
	}
	for _, name := range s.SuppressARP {
		err := validInterface(name)
		if name == "lo" {
			err = invalid("ARP is not answered by lo but by the interface that requests come in by: name that one")
		}
		if err := check("ARP suppression on "+name, "arp "+name, err); err != nil {
			return err
		}
	}
	return nil
}

// normal is a copy with every default filled in.
func (s State) normal() State {
	n := State{SuppressARP: slices.Clone(s.SuppressARP), NoAccept: s.NoAccept}
	for _, a := range s.Addresses {
		n.Addresses = append(n.Addresses, a.normal())
	}
	for _, t := range s.Tunnels {
		n.Tunnels = append(n.Tunnels, t.normal())
	}
	for _, v := range s.VirtualMACs {
		n.VirtualMACs = append(n.VirtualMACs, v.normal())
	}
	return n
}
