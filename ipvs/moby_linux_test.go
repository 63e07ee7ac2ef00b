package ipvs

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	moby "github.com/moby/ipvs"
)

// mobyKnows tells what moby/ipvs can read and write: no other tunnel than ipip,
// no mixed families, weights of 16 bits, no address that ends in twelve zero
// bytes.
func mobyKnows(s Service) bool {
	for _, d := range s.Destinations {
		if d.Tunnel != (Tunnel{}) || d.Weight > 65535 || d.Addr.Addr().Is6() != (s.ID.AddressFamily() == IPv6) {
			return false
		}
	}
	return s.Persistence.Engine == ""
}

// mobyTables are those services of everyKind that moby/ipvs knows.
func mobyServices() []Service {
	var list []Service
	for _, s := range everyKind() {
		if mobyKnows(s) {
			list = append(list, s.Normal())
		}
	}
	return list
}

// fromMoby reads a service of moby/ipvs as a person would.
func fromMoby(t *testing.T, m *moby.Service, dests []*moby.Destination) Service {
	t.Helper()
	s := Service{Scheduler: Scheduler(m.SchedName), Flags: Flags(m.Flags) &^ (flagHashed | flagPersistent)}
	if m.FWMark != 0 {
		s.ID.FWMark = m.FWMark
		if m.AddressFamily == afINET6 {
			s.ID.Family = IPv6
		}
	} else {
		addr, ok := netip.AddrFromSlice(m.Address)
		if !ok {
			t.Fatalf("moby reads the address %v", m.Address)
		}
		s.ID.Protocol, s.ID.Addr = Protocol(m.Protocol), netip.AddrPortFrom(addr.Unmap(), m.Port)
	}
	if Flags(m.Flags)&flagPersistent != 0 {
		s.Persistence.Timeout = time.Duration(m.Timeout) * time.Second
	}
	for _, d := range dests {
		addr, _ := netip.AddrFromSlice(d.Address)
		out := Destination{
			Addr: netip.AddrPortFrom(addr.Unmap(), d.Port), Weight: d.Weight, Upper: d.UpperThreshold, Lower: d.LowerThreshold,
		}
		for f, k := range forwards {
			if k == d.ConnectionFlags&7 {
				out.Forward = Forward(f)
			}
		}
		s.Destinations = append(s.Destinations, out)
	}
	return s
}

func TestMobyReadsWhatWeWrite(t *testing.T) {
	c, ns := kernel(t)
	want := mobyServices()
	_, err := c.Apply(background, want, Policy{})
	must(t, err)
	h := newMoby(t, ns)
	defer h.Close()
	list, err := h.GetServices()
	must(t, err)
	var got []Service
	for _, m := range list {
		dests, err := h.GetDestinations(m)
		must(t, err)
		got = append(got, fromMoby(t, m, dests))
	}
	for i := range want { // its masks are of another kind in each family
		want[i].Persistence.Mask = 0
	}
	equalTables(t, "moby", got, want)
}

func TestWeReadWhatMobyWrites(t *testing.T) {
	c, ns := kernel(t)
	h := newMoby(t, ns)
	defer h.Close()
	var want []Service
	for _, s := range mobyServices() {
		// moby stores fd00::5 as the IPv4 address 253.0.0.0.
		if s.Persistence != (Persistence{}) || strings.Contains(s.ID.String(), "fd00::5") {
			continue
		}
		m := mobyService(s)
		must(t, h.NewService(m))
		for _, d := range s.Destinations {
			must(t, h.NewDestination(m, mobyDest(d)))
		}
		want = append(want, s)
	}
	equalTables(t, "Services", services(t, c), want)
}
