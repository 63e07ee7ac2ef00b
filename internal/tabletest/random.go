package tabletest

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// Random makes services out of few enough values that they meet each other.
type Random struct {
	*rand.Rand
	AnyKind bool // also what only the kernel forwards
}

func pick[T any](r Random, values ...T) T { return values[r.IntN(len(values))] }

// Table is a valid table of at most n services.
func (r Random) Table(n int) []ipvs.Service {
	var list []ipvs.Service
	seen := map[ipvs.ServiceID]bool{}
	for range r.IntN(n + 1) {
		s := r.Service()
		if id := s.Normal().ID; !seen[id] {
			seen[id] = true
			list = append(list, s)
		}
	}
	return list
}

// ID is a valid name of a service.
func (r Random) ID() ipvs.ServiceID {
	if r.AnyKind && r.IntN(4) == 0 {
		return ipvs.ServiceID{FWMark: pick(r, uint32(1), 2, 1<<32-1), Family: pick(r, ipvs.IPv4, ipvs.IPv6)}
	}
	id := ipvs.ServiceID{Protocol: pick(r, ipvs.TCP, ipvs.UDP)}
	port := pick(r, uint16(80), 65535)
	if r.AnyKind {
		id.Protocol = pick(r, id.Protocol, ipvs.SCTP)
		port = pick(r, port, 0)
	}
	a := netip.MustParseAddr(pick(r, "192.0.2.1", "::ffff:192.0.2.2", "2001:db8::", "2001:db8::5"))
	id.Addr = netip.AddrPortFrom(a, port)
	return id
}

// Service is a valid service; its form is not always the normal one.
func (r Random) Service() ipvs.Service {
	s := ipvs.Service{
		ID:        r.ID(),
		Scheduler: pick(r, append([]ipvs.Scheduler{"", ipvs.NoScheduler}, schedulers...)...),
		Flags:     pick(r, 0, ipvs.SchedFlag1, ipvs.SchedFlag1|ipvs.SchedFlag2, ipvs.SchedFlag3),
	}
	packets := s.ID.FWMark != 0 || s.ID.Protocol == ipvs.UDP
	if packets {
		s.Flags |= pick(r, 0, ipvs.OnePacket)
	}
	if s.ID.FWMark == 0 && s.ID.Addr.Port() == 0 || r.IntN(3) == 0 {
		s.Persistence = r.persistence(s.ID)
		if packets {
			s.Persistence.Engine = pick(r, "", "sip")
		}
	}
	for _, i := range r.Perm(5)[:r.IntN(5)] {
		s.Destinations = append(s.Destinations, r.Destination(s.ID, i))
	}
	return s
}

func (r Random) persistence(id ipvs.ServiceID) ipvs.Persistence {
	p := ipvs.Persistence{Timeout: pick(r, time.Second, 5*time.Minute, maxTimeout)}
	if id.AddressFamily() == ipvs.IPv6 {
		p.Mask = pick(r, 0, 1, 64, 128)
	} else {
		p.Mask = pick(r, 0, 1, 24, 32, ipvs.MaskAll)
	}
	return p
}

// Destination is a valid destination of a service, the i-th of a handful.
func (r Random) Destination(id ipvs.ServiceID, i int) ipvs.Destination {
	d := ipvs.Destination{Forward: ipvs.ForwardMasq, Weight: pick(r, 0, 1, 1, 2, 65536, maxWeight)}
	d.Upper = pick(r, uint32(0), 0, 10, maxThreshold)
	d.Lower = pick(r, 0, d.Upper/2, d.Upper)
	if r.AnyKind {
		d.Forward = pick(r, ipvs.ForwardRoute, ipvs.ForwardMasq, ipvs.ForwardTunnel, ipvs.ForwardLocal)
	}
	v6 := id.AddressFamily() == ipvs.IPv6
	if d.Forward == ipvs.ForwardTunnel {
		d.Tunnel = pick(r, ipvs.Tunnel{}, ipvs.Tunnel{Type: ipvs.GUE, Port: 6080}, ipvs.Tunnel{Type: ipvs.GUE, Port: 6080, Flags: ipvs.TunnelCsum},
			ipvs.Tunnel{Type: ipvs.GRE}, ipvs.Tunnel{Type: ipvs.GRE, Flags: ipvs.TunnelCsum})
		v6 = r.IntN(4) != 0 == v6
	}
	port := id.Addr.Port()
	if d.Forward == ipvs.ForwardMasq || id.FWMark != 0 {
		port = pick(r, port, 8080)
	}
	a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
	if v6 {
		a = netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i + 1)})
	}
	d.Addr = netip.AddrPortFrom(a, port)
	return d
}

// Wanted is a table as it would have to be wanted to stay as it is.
func Wanted(list []ipvs.ServiceStatus) []ipvs.Service {
	services := make([]ipvs.Service, len(list))
	for i, st := range list {
		s := st.Service
		for _, d := range st.Destinations {
			s.Destinations = append(s.Destinations, d.Destination)
		}
		services[i] = s
	}
	return services
}

// Sorted is a table in one order and in normal form, for comparison.
func Sorted(list []ipvs.Service) []ipvs.Service {
	sorted := make([]ipvs.Service, len(list))
	for i, s := range list {
		s = s.Normal()
		slices.SortFunc(s.Destinations, func(a, b ipvs.Destination) int { return a.Addr.Compare(b.Addr) })
		if len(s.Destinations) == 0 {
			s.Destinations = nil
		}
		sorted[i] = s
	}
	slices.SortFunc(sorted, func(a, b ipvs.Service) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return sorted
}
