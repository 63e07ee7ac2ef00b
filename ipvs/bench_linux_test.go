package ipvs

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	moby "github.com/moby/ipvs"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// benchSizes are how many services of ten destinations a table has.
var benchSizes = []int{1000, 10000}

const benchDests = 10

// benchTable makes services of destinations that occur once each.
func benchTable(services int) []Service {
	list := make([]Service, services)
	for i := range list {
		list[i] = Service{ID: ServiceID{Protocol: TCP, Addr: benchAddr(10, i, 80)}, Scheduler: WRR}
		for j := range benchDests {
			list[i].Destinations = append(list[i].Destinations, Destination{
				Addr: benchAddr(100, i*benchDests+j, 8080), Forward: ForwardMasq, Weight: 1 + j,
			})
		}
	}
	return list
}

func benchAddr(net byte, i int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{net, byte(i >> 16), byte(i >> 8), byte(i)}), port)
}

// benchEach runs a benchmark for each size of table and each way to do it.
func benchEach(b *testing.B, ways map[string]func(b *testing.B, table []Service)) {
	need.Root(b)
	need.IPVS(b)
	for _, n := range benchSizes {
		for _, by := range []string{"lvskit", "moby", "ipvsadm"} {
			way, ok := ways[by]
			if !ok {
				continue
			}
			b.Run(fmt.Sprintf("services=%d/by=%s", n, by), func(b *testing.B) { way(b, benchTable(n)) })
		}
	}
}

// empty makes a namespace for one load. Up to 6.12 one hash table serves all
// namespaces: so flush before the next.
func empty(b *testing.B) (path string, done func()) {
	b.Helper()
	ns, path := openTestNamespace(b)
	return path, func() {
		c := newClient(b, path)
		must(b, c.Flush(context.Background()))
		c.Close()
		ns.Close()
	}
}

func reportPerOperation(b *testing.B, table []Service) {
	n := len(table) * (1 + benchDests)
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/change")
}

// benchLoads times load on an empty table, in a namespace of its own each time:
// in a table that was flushed the kernel is slow for minutes.
func benchLoads(b *testing.B, table []Service, load func(path string)) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		path, done := empty(b)
		b.StartTimer()
		load(path)
		b.StopTimer()
		done()
		b.StartTimer()
	}
	reportPerOperation(b, table)
}

func BenchmarkLoad(b *testing.B) {
	ctx := context.Background()
	benchEach(b, map[string]func(*testing.B, []Service){
		"lvskit": func(b *testing.B, table []Service) {
			benchLoads(b, table, func(path string) {
				c := newClient(b, path)
				made, err := c.Apply(ctx, table, Policy{})
				must(b, err)
				if want := len(table) * (1 + benchDests); len(made) != want {
					b.Fatalf("%d changes, want %d", len(made), want)
				}
				c.Close()
			})
		},
		"moby": func(b *testing.B, table []Service) {
			services, dests := mobyTable(table)
			benchLoads(b, table, func(path string) {
				h := newMoby(b, path)
				defer h.Close()
				for i, s := range services {
					must(b, h.NewService(s))
					for _, d := range dests[i] {
						must(b, h.NewDestination(s, d))
					}
				}
			})
		},
		"ipvsadm": func(b *testing.B, table []Service) {
			need.Program(b, "ipvsadm")
			var rules bytes.Buffer
			must(b, Format(&rules, table))
			benchLoads(b, table, func(path string) { runIpvsadm(b, path, rules.Bytes(), "-R") })
		},
	})
}

// full makes a namespace with the table in it, which is removed after the
// benchmark.
func full(b *testing.B, table []Service) (c *Client, path string) {
	b.Helper()
	ns, path := openTestNamespace(b)
	c = newClient(b, path)
	_, err := c.Apply(context.Background(), table, Policy{})
	must(b, err)
	b.Cleanup(func() {
		must(b, c.Flush(context.Background()))
		ns.Close()
	})
	return c, path
}

func BenchmarkNoChange(b *testing.B) {
	ctx := context.Background()
	benchEach(b, map[string]func(*testing.B, []Service){
		"lvskit": func(b *testing.B, table []Service) {
			c, _ := full(b, table)
			b.ReportAllocs()
			for b.Loop() {
				made, err := c.Apply(ctx, table, Policy{Owns: OwnAll})
				must(b, err)
				if len(made) != 0 {
					b.Fatalf("%d changes", len(made))
				}
			}
		},
		"ipvsadm": func(b *testing.B, table []Service) {
			need.Program(b, "ipvsadm")
			_, path := full(b, table)
			for b.Loop() {
				runIpvsadm(b, path, nil, "-S", "-n")
			}
		},
	})
}

func BenchmarkOneChange(b *testing.B) {
	ctx := context.Background()
	benchEach(b, map[string]func(*testing.B, []Service){
		"lvskit": func(b *testing.B, table []Service) {
			c, _ := full(b, table)
			d := &table[len(table)/2].Destinations[3]
			for b.Loop() {
				d.Weight++
				made, err := c.Apply(ctx, table, Policy{Owns: OwnAll})
				must(b, err)
				if len(made) != 1 {
					b.Fatalf("%d changes, want 1", len(made))
				}
			}
		},
	})
}

// BenchmarkUpdateDestination is one command, which knows what to change.
func BenchmarkUpdateDestination(b *testing.B) {
	ctx := context.Background()
	benchEach(b, map[string]func(*testing.B, []Service){
		"lvskit": func(b *testing.B, table []Service) {
			c, _ := full(b, table)
			s := table[len(table)/2]
			d := s.Destinations[3]
			for b.Loop() {
				d.Weight++
				must(b, c.UpdateDestination(ctx, s.ID, d))
			}
		},
		"moby": func(b *testing.B, table []Service) {
			_, path := full(b, table)
			services, dests := mobyTable(table)
			h := newMoby(b, path)
			defer h.Close()
			s, d := services[len(table)/2], dests[len(table)/2][3]
			for b.Loop() {
				d.Weight++
				must(b, h.UpdateDestination(s, d))
			}
		},
		"ipvsadm": func(b *testing.B, table []Service) {
			need.Program(b, "ipvsadm")
			_, path := full(b, table)
			s := table[len(table)/2]
			weight := 0
			for b.Loop() {
				weight++
				runIpvsadm(b, path, nil, "-e", "-t", s.ID.Addr.String(),
					"-r", s.Destinations[3].Addr.String(), "-m", "-w", fmt.Sprint(weight))
			}
		},
	})
}

func BenchmarkRead(b *testing.B) {
	ctx := context.Background()
	benchEach(b, map[string]func(*testing.B, []Service){
		"lvskit": func(b *testing.B, table []Service) {
			c, _ := full(b, table)
			b.ReportAllocs()
			for b.Loop() {
				list, err := c.Services(ctx)
				must(b, err)
				if len(list) != len(table) {
					b.Fatalf("%d services, want %d", len(list), len(table))
				}
			}
		},
		"moby": func(b *testing.B, table []Service) {
			_, path := full(b, table)
			h := newMoby(b, path)
			defer h.Close()
			for b.Loop() {
				list, err := h.GetServices()
				must(b, err)
				if len(list) != len(table) {
					b.Fatalf("%d services, want %d", len(list), len(table))
				}
				for _, s := range list {
					_, err := h.GetDestinations(s)
					must(b, err)
				}
			}
		},
		"ipvsadm": func(b *testing.B, table []Service) {
			need.Program(b, "ipvsadm")
			_, path := full(b, table)
			for b.Loop() {
				runIpvsadm(b, path, nil, "-L", "-n")
			}
		},
	})
}

// runIpvsadm throws away what ipvsadm prints.
func runIpvsadm(b *testing.B, path string, stdin []byte, args ...string) {
	b.Helper()
	err := netns.Do(path, func() error {
		cmd := exec.Command("ipvsadm", args...)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), os.Stderr
		return cmd.Run()
	})
	if err != nil {
		b.Fatalf("ipvsadm %q: %v", args, err)
	}
}

func newMoby(t testing.TB, path string) *moby.Handle {
	t.Helper()
	h, err := moby.New(path)
	must(t, err)
	return h
}

// mobyTable is a table in the types of moby/ipvs.
func mobyTable(table []Service) (services []*moby.Service, dests [][]*moby.Destination) {
	for _, s := range table {
		services = append(services, mobyService(s))
		var list []*moby.Destination
		for _, d := range s.Destinations {
			list = append(list, mobyDest(d))
		}
		dests = append(dests, list)
	}
	return services, dests
}

func mobyService(s Service) *moby.Service {
	m := &moby.Service{
		Protocol: uint16(s.ID.Protocol), Port: s.ID.Addr.Port(), FWMark: s.ID.FWMark,
		SchedName: string(s.Scheduler), Flags: uint32(s.Flags), Netmask: 0xffffffff, AddressFamily: kernelFamily(s.ID.AddressFamily()),
	}
	if s.ID.AddressFamily() == IPv6 {
		m.Netmask = 128
	}
	if s.ID.FWMark == 0 {
		m.Address = net.IP(s.ID.Addr.Addr().AsSlice())
	}
	return m
}

func mobyDest(d Destination) *moby.Destination {
	return &moby.Destination{
		Address: net.IP(d.Addr.Addr().AsSlice()), Port: d.Addr.Port(), Weight: d.Weight,
		ConnectionFlags: forwards[d.Forward], UpperThreshold: d.Upper, LowerThreshold: d.Lower,
	}
}
