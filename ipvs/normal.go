package ipvs

import "net/netip"

// Normal is the one form in which two services that the kernel cannot tell
// apart are equal: IPv4-mapped addresses unmapped, the zero Scheduler spelled out
// as WLC, what has no effect left out (a Mask without persistence or of a single
// address, a Tunnel of what is not tunnelled). It is the form in which a Table
// returns services, and Plan its changes. The order of the destinations stays;
// they are copied. It takes invalid services too, since a table may hold some.
func (s Service) Normal() Service {
	s = s.normalHead()
	if s.Destinations == nil {
		return s
	}
	ds := make([]Destination, len(s.Destinations))
	for i, d := range s.Destinations {
		ds[i] = d.normal()
	}
	s.Destinations = ds
	return s
}

// normalHead is Normal without the destinations, which stay as they are.
func (s Service) normalHead() Service {
	s.ID = s.ID.normal()
	if s.Scheduler == "" {
		s.Scheduler = WLC
	}
	full := 32
	if s.ID.AddressFamily() == IPv6 {
		full = 128
	}
	if s.Persistence.Timeout == 0 || s.Persistence.Mask == full {
		s.Persistence.Mask = 0
	}
	return s
}

func (id ServiceID) normal() ServiceID {
	id.Addr = unmap(id.Addr)
	return id
}

func (d Destination) normal() Destination {
	d.Addr = unmap(d.Addr)
	if d.Forward != ForwardTunnel {
		d.Tunnel = Tunnel{}
	}
	return d
}

// unmap is the IPv4 address inside of an IPv4-mapped IPv6 address.
func unmap(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().Is4In6() {
		return a
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
