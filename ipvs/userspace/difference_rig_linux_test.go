package userspace

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
	"github.com/lvskit/lvskit/ipvs"
)

// A duel plays the same events to the kernel's IPVS and to an Engine, and
// compares what each makes of them. Clients, director and real servers are one
// namespace: a packet that a socket there sends has been scheduled when the call
// returns, so that the order of events is the same on both sides.
//
//	10.1.0.0/16 fd01::/64  clients
//	10.2.0.0/16 fd02::/64  real servers that answer
//	10.3.0.0/16 fd03::/64  virtual addresses
//	10.4.0.0/16 fd04::/64  real servers that nobody has
type duel struct {
	t       *testing.T
	ns      string
	kernel  *ipvs.Client
	engine  *Engine
	id      ipvs.ServiceID
	rng     *rand.Rand
	v6      bool
	history []string
	used    map[netip.AddrPort]bool
	all     []*played
	checked int              // of all: how many have been compared
	pool    []netip.AddrPort // real servers
	servers *keepers         // of TCP
}

// played is a connection of both sides.
type played struct {
	client, virtual netip.AddrPort
	c               *connection // nil: the Engine has nobody for it
	tcp             net.Conn
	ended           bool
}

// rounds is how often each test has duelled: with -count it plays other events
// each time.
var rounds struct {
	sync.Mutex
	of map[string]uint64
}

func seed(t *testing.T) *rand.Rand {
	rounds.Lock()
	defer rounds.Unlock()
	if rounds.of == nil {
		rounds.of = map[string]uint64{}
	}
	rounds.of[t.Name()]++
	name := fnv.New64a()
	name.Write([]byte(t.Name()))
	return rand.New(rand.NewPCG(rounds.of[t.Name()], name.Sum64()))
}

func newDuel(t *testing.T, wanted ipvs.Service) *duel {
	t.Helper()
	need.Root(t)
	need.IPVS(t)
	need.Module(t, "ip_vs_lblc", "ip_vs_lblcr") // see ipvs.Scheduler
	d := &duel{t: t, id: wanted.ID, rng: seed(t), used: map[netip.AddrPort]bool{}}
	d.v6 = wanted.ID.AddressFamily() == ipvs.IPv6
	ns, err := netns.New()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	d.ns = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
	must(t, netns.Do(d.ns, prepareDuel))
	d.kernel, err = ipvs.Open(ipvs.Config{NetNS: d.ns})
	must(t, err)
	t.Cleanup(func() { d.kernel.Close() })
	must(t, netns.Do(d.ns, func() error {
		return os.WriteFile("/proc/sys/net/ipv4/vs/expire_nodest_conn", []byte("1"), 0)
	}))
	d.engine, err = Open(Config{TableOnly: true})
	must(t, err)
	t.Cleanup(func() { d.engine.Close() })
	d.both(func(table ipvs.Table) error { return table.AddService(background, wanted) })
	net, port := "10.4", uint16(53)
	if wanted.ID.Protocol == ipvs.TCP {
		net, port = "10.2", 8080
		d.servers = newKeepers(t, d.ns, port)
	}
	for i := range 8 {
		addr := netip.MustParseAddr(fmt.Sprintf("%s.0.%d", net, 1+i))
		if d.v6 {
			addr = netip.MustParseAddr(fmt.Sprintf("fd04::%d:%x", i, 1+i*i*977))
		}
		d.pool = append(d.pool, netip.AddrPortFrom(addr, port))
	}
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prepareDuel() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, local := range []string{"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "fd01::/64", "fd02::/64", "fd03::/64"} {
		_, dst, _ := net.ParseCIDR(local)
		route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL}
		if dst.IP.To4() != nil {
			route.Scope = netlink.SCOPE_HOST
		}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("%s: %w", local, err)
		}
	}
	nobody := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "nobody", Flags: net.FlagUp}}
	if err := netlink.LinkAdd(nobody); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(nobody); err != nil {
		return err
	}
	for _, addr := range []string{"10.4.255.254/16", "fd04::ffff:ffff/64"} {
		a, err := netlink.ParseAddr(addr)
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(nobody, a); err != nil {
			return fmt.Errorf("%s: %w", addr, err)
		}
	}
	return nil
}

// both makes a change on both sides, which take it or refuse it alike.
func (d *duel) both(change func(ipvs.Table) error) {
	d.t.Helper()
	kernel, engine := change(d.kernel), change(d.engine)
	if kernel != nil || engine != nil {
		d.t.Fatalf("the kernel says %v, the engine %v, after\n%s", kernel, engine, strings.Join(d.history, "\n"))
	}
}

func (d *duel) note(format string, args ...any) {
	d.history = append(d.history, fmt.Sprintf(format, args...))
}

func (d *duel) service() *service { return d.engine.services[d.id] }

// client is one that has not been there: of some addresses, with any port.
func (d *duel) client() netip.AddrPort {
	for {
		a, b, port := byte(d.rng.IntN(3)), byte(1+d.rng.IntN(20)), uint16(1024+d.rng.IntN(60000))
		addr := netip.AddrFrom4([4]byte{10, 1, a, b})
		if d.v6 {
			addr = netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 9: 7 * a, 11: b, 14: a, 15: b * 11})
		}
		c := netip.AddrPortFrom(addr, port)
		if !d.used[c] {
			d.used[c] = true
			return c
		}
	}
}

// virtual is where the client sends to: of a service by firewall mark, one of
// some addresses.
func (d *duel) virtual() netip.AddrPort {
	if d.id.FWMark == 0 && d.id.Addr.Port() != 0 {
		return d.id.Addr
	}
	port := uint16(1000 + d.rng.IntN(3))
	if d.id.FWMark == 0 {
		return netip.AddrPortFrom(d.id.Addr.Addr(), port)
	}
	if d.v6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 3, 15: byte(1 + d.rng.IntN(6))}), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, 0, byte(1 + d.rng.IntN(6))}), port)
}

// packets has n clients send their first packet.
func (d *duel) packets(n int) {
	d.t.Helper()
	from := len(d.all)
	d.note("connections %d to %d", from+1, from+n)
	for range n {
		d.all = append(d.all, &played{client: d.client(), virtual: d.virtual()})
	}
	must(d.t, netns.Do(d.ns, func() error {
		for _, p := range d.all[from:] {
			err := sendFrom(p.client, p.virtual, int(d.id.FWMark))
			if err != nil && !errors.Is(err, unix.EPERM) { // which is how a socket hears that there was nobody
				return fmt.Errorf("%s to %s: %w", p.client, p.virtual, err)
			}
		}
		return nil
	}))
	for _, p := range d.all[from:] {
		p.c = d.service().admit(flow{client: p.client, virtual: p.virtual, now: d.engine.now()}, nil)
		if p.c != nil {
			d.engine.become(p.c, ipvs.StateUDP) // of a firewall mark it would be of TCP
		}
	}
}

func endpoint(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func sendFrom(client, virtual netip.AddrPort, mark int) error {
	family, from, to := unix.AF_INET, endpoint(client), endpoint(virtual)
	if client.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	}
	if err == nil && mark != 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark)
	}
	if err == nil {
		err = unix.Bind(fd, from)
	}
	if err == nil {
		err = unix.Sendto(fd, []byte("hello"), 0, to)
	}
	return err
}

// compare looks at who has the connections that have come since it last did.
func (d *duel) compare() {
	d.t.Helper()
	if d.checked == len(d.all) || d.service().Flags&ipvs.OnePacket != 0 { // whose connections are gone
		return
	}
	for try := 0; ; try++ {
		p := d.differs(d.chosen())
		if p == nil {
			return
		}
		if try == 20 {
			d.t.Fatalf("connection %d, %s to %s: the engine has %s, the kernel %s, in\n%s", d.checked+1, p.client, p.virtual,
				destinationOf(p.c), d.chosen()[p.client], strings.Join(d.history, "\n"))
		}
		// The kernel's list is of all namespaces at once: while another one's
		// connections come and go it leaves some out.
		time.Sleep(20 * time.Millisecond)
	}
}

// differs is the next connection that the kernel gave to somebody else, nil if
// there is none.
func (d *duel) differs(chosen map[netip.AddrPort]netip.Addr) *played {
	for ; d.checked < len(d.all); d.checked++ {
		if p := d.all[d.checked]; destinationOf(p.c) != chosen[p.client] {
			return p
		}
	}
	return nil
}

// chosen are the kernel's destinations, by client.
func (d *duel) chosen() map[netip.AddrPort]netip.Addr {
	d.t.Helper()
	chosen := map[netip.AddrPort]netip.Addr{}
	for c, err := range d.kernel.Connections(background) {
		must(d.t, err)
		if !c.Template() {
			chosen[c.Client] = c.Destination.Addr()
		}
	}
	return chosen
}

// destinationOf is where a connection goes: an address, as the port depends on
// what the client asked for in services of all ports.
func destinationOf(c *connection) netip.Addr {
	if c == nil {
		return netip.Addr{}
	}
	return c.dest.Addr.Addr()
}

// counts compares who has the connections, and waits until both sides count the
// same.
func (d *duel) counts() {
	d.t.Helper()
	d.compare()
	var diff string
	for range 100 {
		if diff = cmp.Diff(d.countsOf(d.kernel), d.countsOf(d.engine)); diff == "" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.t.Fatalf("- kernel, + engine\n%s\nafter\n%s", diff, strings.Join(d.history, "\n"))
}

func (d *duel) countsOf(table ipvs.Table) map[string][3]int {
	d.t.Helper()
	s, err := table.Service(background, d.id)
	must(d.t, err)
	counts := map[string][3]int{}
	for _, dst := range s.Destinations {
		counts[dst.Addr.String()] = [3]int{dst.Active, dst.Inactive, dst.Persistent}
	}
	return counts
}
