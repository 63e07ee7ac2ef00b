package ipvs

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// modelTable is a table that executes changes as the kernel does, for tests of
// plans.
type modelTable map[ServiceID]*Service

func newModelTable(services []Service) modelTable {
	t := make(modelTable, len(services))
	for _, s := range services {
		n := s.Normal()
		t[n.ID] = &n
	}
	return t
}

// run executes one change, with the errors of the kernel.
func (t modelTable) run(c Change) error {
	s, ok := t[c.Service.ID]
	if ok == (c.Op == AddService) {
		if ok {
			return fs.ErrExist
		}
		return fs.ErrNotExist
	}
	switch c.Op {
	case AddService, UpdateService, RemoveService:
		if c.Op == RemoveService {
			delete(t, c.Service.ID)
			return nil
		}
		if err := c.Service.Validate(); err != nil {
			return err
		}
		n := c.Service
		if ok {
			n.Destinations = s.Destinations
		}
		t[n.ID] = &n
		return nil
	}
	i := slices.IndexFunc(s.Destinations, func(d Destination) bool { return d.Addr == c.Destination.Addr })
	if (i >= 0) == (c.Op == AddDestination) {
		return fmt.Errorf("%s: %d", c, i)
	}
	if c.Op == RemoveDestination {
		s.Destinations = slices.Delete(s.Destinations, i, i+1)
		return nil
	}
	if err := c.Destination.validate(s.ID); err != nil {
		return err
	}
	if i >= 0 {
		s.Destinations[i] = c.Destination
	} else {
		s.Destinations = slices.Insert(s.Destinations, 0, c.Destination) // the kernel adds at the head
	}
	return nil
}

// services is the table in any order, as a reading gives it.
func (t modelTable) services() []Service {
	out := make([]Service, 0, len(t))
	for s := range maps.Values(t) {
		n := *s
		n.Destinations = slices.Clone(s.Destinations)
		out = append(out, n)
	}
	return out
}

// sorted is services in one order, in normal form, for comparison.
func sorted(services []Service) []Service {
	out := make([]Service, 0, len(services))
	for _, s := range services {
		s = s.Normal()
		slices.SortFunc(s.Destinations, func(a, b Destination) int { return a.Addr.Compare(b.Addr) })
		if len(s.Destinations) == 0 {
			s.Destinations = nil
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Service) int {
		if a.ID.String() < b.ID.String() {
			return -1
		}
		return 1
	})
	return out
}

// pick is one of the values.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// randomTable is a valid table of at most n services, out of few enough that
// two tables overlap.
func randomTable(r *rand.Rand, n int) []Service {
	services := make(map[ServiceID]Service)
	for range r.IntN(n + 1) {
		s := randomService(r)
		services[s.ID.normal()] = s
	}
	ids := slices.Collect(maps.Keys(services))
	slices.SortFunc(ids, func(a, b ServiceID) int { return slices.Compare([]byte(a.String()), []byte(b.String())) })
	r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	out := make([]Service, len(ids))
	for i, id := range ids {
		out[i] = services[id]
	}
	return out
}

func randomID(r *rand.Rand) ServiceID {
	if r.IntN(4) == 0 {
		return ServiceID{FWMark: pick(r, uint32(1), 2, 1<<31-1, 1<<31, 1<<32-1), Family: pick(r, IPv4, IPv6)}
	}
	return ServiceID{
		Protocol: pick(r, TCP, UDP, SCTP),
		Addr: netip.AddrPortFrom(
			netip.MustParseAddr(pick(r, "192.0.2.1", "192.0.2.2", "::ffff:192.0.2.3", "2001:db8::", "fd00::5")),
			pick(r, uint16(0), 80, 65535)),
	}
}

// randomService is a valid service; its form is not always the normal one.
func randomService(r *rand.Rand) Service {
	s := Service{
		ID:        randomID(r),
		Scheduler: pick(r, "", RR, WLC, SH, MH, NoScheduler),
		Flags:     pick(r, 0, SchedFlag1, SchedFlag1|SchedFlag2, SchedFlag3),
	}
	if s.ID.FWMark != 0 || s.ID.Protocol == UDP {
		s.Flags |= pick(r, 0, OnePacket)
	}
	if s.ID.FWMark == 0 && s.ID.Addr.Port() == 0 || r.IntN(3) == 0 {
		s.Persistence.Timeout = pick(r, time.Second, 300*time.Second, maxTimeout)
		if s.ID.AddressFamily() == IPv6 {
			s.Persistence.Mask = pick(r, 0, 1, 64, 128)
		} else {
			s.Persistence.Mask = pick(r, 0, 1, 24, 32, MaskAll)
		}
		if s.ID.FWMark != 0 || s.ID.Protocol == UDP {
			s.Persistence.Engine = pick(r, "", "sip")
		}
	}
	for _, i := range r.Perm(6)[:r.IntN(5)] {
		s.Destinations = append(s.Destinations, randomDestination(r, s.ID, i))
	}
	return s
}

// randomDestination is a valid destination, the i-th of a handful.
func randomDestination(r *rand.Rand, id ServiceID, i int) Destination {
	d := Destination{
		Forward: pick(r, ForwardRoute, ForwardMasq, ForwardTunnel),
		Weight:  pick(r, 0, 0, 1, 1, 2, 65537, maxWeight),
	}
	d.Upper = pick(r, uint32(0), 0, 10, maxThreshold)
	d.Lower = pick(r, 0, d.Upper/2, d.Upper)
	v6 := id.AddressFamily() == IPv6
	if d.Forward == ForwardTunnel {
		d.Tunnel = pick(r,
			Tunnel{},
			Tunnel{Type: GUE, Port: 6080},
			Tunnel{Type: GUE, Port: 6081, Flags: TunnelCsum},
			Tunnel{Type: GUE, Port: 6080, Flags: TunnelRemCsum},
			Tunnel{Type: GRE},
			Tunnel{Type: GRE, Flags: TunnelCsum},
		)
		v6 = r.IntN(4) != 0 == v6
	}
	port := id.Addr.Port()
	if d.Forward == ForwardMasq || id.FWMark != 0 {
		port = pick(r, port, 8080)
	}
	addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
	if v6 {
		addr = netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i + 1)})
	}
	d.Addr = netip.AddrPortFrom(addr, port)
	return d
}
