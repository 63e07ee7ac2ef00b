package nat

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// BenchmarkConnect is the time of a connect system call of a client, through a gateway,
// to the last one of 10, 1,000 and 10,000 published ports. The gateways are
// between one client and one server, each on networks of its own; "routed" is one that
// publishes nothing. The client resets its connections. "xp50-of-10" is how many
// times as long as with 10 ports.
func BenchmarkConnect(b *testing.B) {
	need.Program(b, "nft", "iptables-nft-restore", "iptables-legacy-restore")
	s := newStreet(b)
	all := quick(enlist(b, func(name string) *lab.Host { return s.gateway(b, name) }))
	s.gateway(b, "routed")
	all = append(all, &contestant{name: "routed"})
	var board scoreboard
	first := map[string]float64{}
	for _, n := range []int{10, 1000, 10_000} {
		n = benchCount(n)
		discipline := fmt.Sprintf("ports=%d", n)
		b.Run(discipline, func(b *testing.B) {
			for _, c := range all {
				if c.replace != nil {
					must(b, c.replace(s.ports(n, c.name))())
				}
			}
			for b.Loop() {
				s.race(b, &board, discipline, n, all)
			}
			for _, c := range all {
				p50 := board.find(discipline, "p50-us").median(c.name)
				if first[c.name] == 0 {
					first[c.name] = p50
				}
				board.add(discipline, c.name, "xp50-of-10", p50/first[c.name])
			}
			board.report(b, discipline)
		})
	}
	fmt.Print(board.String())
}

// street is a client and a server with gateways between them.
type street struct {
	lab            *lab.Lab
	client, server *lab.Host
	gateways       []string // the number of a gateway is that of its networks
}

func newStreet(b *testing.B) *street {
	l := labtest.New(b)
	return &street{lab: l, client: labtest.Host(b, l, "client"), server: labtest.Host(b, l, "server")}
}

// address is one in a network of a gateway: 0 is the clients', 1 the servers'.
func (s *street) address(gateway string, network, host int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(slices.Index(s.gateways, gateway)), byte(network), byte(host)})
}

// gateway makes one, and a server behind it.
func (s *street) gateway(b *testing.B, name string) *lab.Host {
	b.Helper()
	s.gateways = append(s.gateways, name)
	h := labtest.Host(b, s.lab, name)
	for network, end := range []*lab.Host{s.client, s.server} {
		lan := labtest.Switch(b, s.lab, fmt.Sprintf("%s%d", name, network))
		labtest.Connect(b, h, lan, s.address(name, network, 1).String()+"/24")
		labtest.Connect(b, end, lan, s.address(name, network, 2).String()+"/24")
		other := netip.PrefixFrom(s.address(name, 1-network, 0), 24)
		must(b, end.Route(other, s.address(name, network, 1)))
	}
	must(b, h.Forward())
	l, err := s.server.Listen("tcp", s.address(name, 1, 2).String()+":8080")
	must(b, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return h
}

// ports are what a gateway publishes.
func (s *street) ports(n int, gateway string) []Rule {
	rules := benchPorts(n, 0)
	for i := range rules {
		rules[i].Destination, rules[i].To = prefixOf(s.address(gateway, 0, 1)), s.address(gateway, 1, 2)
	}
	return rules
}

// race lets the client connect through all gateways in turn.
func (s *street) race(b *testing.B, board *scoreboard, discipline string, n int, all []*contestant) {
	const each = 200
	times := map[string][]time.Duration{}
	runtime.GC()
	time.Sleep(time.Second) // the kernel has still to do with what was replaced
	for round := range *benchRounds {
		for i := range all {
			c := all[(round+i)%len(all)]
			to := netip.AddrPortFrom(s.address(c.name, 1, 2), 8080)
			if c.replace != nil {
				last := s.ports(n, c.name)[n-1]
				to = netip.AddrPortFrom(last.Destination.Addr(), last.DestinationPort.First)
			}
			must(b, s.client.Do(func() error {
				list, err := connects(to, 10+each)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				times[c.name] = append(times[c.name], list[10:]...) // the first ones ask for neighbours
				return nil
			}))
		}
	}
	for name, list := range times {
		slices.Sort(list)
		board.add(discipline, name, "p50-us", list[len(list)/2].Seconds()*1e6)
		board.add(discipline, name, "p99-us", list[len(list)*99/100].Seconds()*1e6)
	}
}

// connects connects n times, one after the other.
func connects(to netip.AddrPort, n int) (list []time.Duration, err error) {
	addr := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		begun := time.Now()
		err = unix.Connect(fd, addr)
		list = append(list, time.Since(begun))
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(fd)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", to, err)
		}
	}
	return list, nil
}
