package ipvs

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// BenchmarkPlan compares tables of 10 real servers a service: equal ones, as at
// each turn of a control loop, ones that differ in one weight, and one that is
// to be made. The reading lists real servers in the kernel's order, the newest
// first, or in any other.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		want := planTable(n)
		reversed, rotated := planTable(n), planTable(n)
		for i := range want {
			slices.Reverse(reversed[i].Destinations)
			ds := rotated[i].Destinations
			rotated[i].Destinations = append(slices.Clone(ds[3:]), ds[:3]...)
		}
		one := planTable(n)
		one[n/2].Destinations[5].Weight++
		for _, bench := range []struct {
			name    string
			have    []Service
			changes int
		}{
			{"equal", reversed, 0},
			{"reordered", rotated, 0},
			{"one", one, 1},
			{"new", nil, n * 11},
		} {
			b.Run(fmt.Sprintf("%s/%dx10", bench.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					changes, err := Plan(bench.have, want, Policy{Owns: OwnAll})
					if err != nil || len(changes) != bench.changes {
						b.Fatal(len(changes), err)
					}
				}
			})
		}
	}
}

func planTable(n int) []Service {
	services := make([]Service, n)
	for i := range services {
		services[i] = Service{
			ID:        ServiceID{Protocol: TCP, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 80)},
			Scheduler: RR,
		}
		for j := range 10 {
			services[i].Destinations = append(services[i].Destinations, Destination{
				Addr:    netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(j), byte(i >> 8), byte(i)}), 8080),
				Forward: ForwardMasq,
				Weight:  1,
			})
		}
	}
	return services
}
