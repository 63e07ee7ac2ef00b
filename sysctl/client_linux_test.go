package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// newNS makes a network namespace with pairs of interfaces of these names.
func newNS(t testing.TB, pairs ...[2]string) string {
	t.Helper()
	need.Root(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	path := fmt.Sprintf("/proc/self/fd/%d", ns.Fd())
	for _, p := range pairs {
		err := netns.Do(path, func() error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: p[0]}, PeerName: p[1]})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func newClient(t testing.TB, c Config) *Client {
	t.Helper()
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// poke sets values as another program would.
func poke(t testing.TB, ns, words string) {
	t.Helper()
	err := netns.Do(ns, func() error {
		for k, v := range values(t, words) {
			if err := (proc{"/proc/sys"}).writeFile(k, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func peek(t testing.TB, c *Client, keys ...Key) Values {
	t.Helper()
	v, err := c.Read(t.Context(), keys...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func expect(t testing.TB, c *Client, words string) {
	t.Helper()
	want := values(t, words)
	if diff := cmp.Diff(want, peek(t, c, sortedKeys(want)...), cmp.AllowUnexported(Key{})); diff != "" {
		t.Errorf("the kernel has (+) instead of (-):\n%s", diff)
	}
}

func apply(t testing.TB, c *Client, want []Setting) []Change {
	t.Helper()
	changes, err := c.Apply(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func restore(t testing.TB, c *Client, changes []Change) (restored, left []Change) {
	t.Helper()
	restored, left, err := c.Restore(t.Context(), changes)
	if err != nil {
		t.Fatal(err)
	}
	return restored, left
}

// onLog calls fn at the nth log line: Apply logs each change after it is made.
type onLog struct {
	slog.Handler
	n  *int
	fn func()
}

func at(n int, fn func()) *slog.Logger {
	return slog.New(onLog{slog.DiscardHandler, &n, fn})
}

func (h onLog) Enabled(context.Context, slog.Level) bool { return true }

func (h onLog) Handle(context.Context, slog.Record) error {
	if *h.n--; *h.n == 0 {
		h.fn()
	}
	return nil
}

func TestApplyForwardsFirst(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth1"})
	c := newClient(t, Config{NetNS: ns})
	want := []Setting{
		{Key: IPv4Conf("eth1", "forwarding"), Want: Exactly(0)},
		{Key: IPv4Conf("eth0", "forwarding"), Want: Exactly(1)},
		{Key: IPv4("ip_forward"), Want: Exactly(1)},
		{Key: IPv4Conf("all", "accept_redirects"), Want: Exactly(1)},
	}
	const changed = "ip_forward=1 conf/eth1/forwarding=0 conf/all/accept_redirects=1"
	plan, err := c.Plan(t.Context(), want)
	if err != nil || commands(plan) != changed {
		t.Errorf("dry run: %s, error %v", commands(plan), err)
	}
	expect(t, c, "ip_forward=0") // nothing is written yet
	if got := commands(apply(t, c, want)); got != changed {
		t.Errorf("got %s, want %s", got, changed)
	}
	expect(t, c, "ip_forward=1 conf/eth0/forwarding=1 conf/eth1/forwarding=0 conf/all/accept_redirects=1")
	if again := apply(t, c, want); len(again) != 0 {
		t.Errorf("a second time: %s", commands(again))
	}
}

func TestWeRefuseWhatTheKernelTakes(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth1"})
	c := newClient(t, Config{NetNS: ns})
	poke(t, ns, "conf/eth0/rp_filter=5")
	expect(t, c, "conf/eth0/rp_filter=5")
	changes, err := c.Apply(t.Context(), []Setting{
		{Key: IPv4("ip_forward"), Want: Exactly(1)},
		{Key: IPv4Conf("eth0", "rp_filter"), Want: Exactly(5)},
	})
	if !errors.Is(err, ErrRange) || len(changes) != 0 {
		t.Errorf("got %v, error %v, want ErrRange", changes, err)
	}
	expect(t, c, "ip_forward=0")
	if got := commands(apply(t, c, DirectorDR(Director{Interfaces: []string{"eth0"}}))); !contains(got, "conf/eth0/rp_filter=2") {
		t.Errorf("the director keeps rp_filter=5: %s", got)
	}
}

func TestRestoreLeavesForeign(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth1"})
	c := newClient(t, Config{NetNS: ns})
	changes := apply(t, c, RealServerDR("eth0", "eth1"))
	poke(t, ns, "conf/eth0/arp_ignore=8 conf/eth1/arp_ignore=0")
	restored, left := restore(t, c, changes)
	if commands(restored) != "conf/eth1/arp_announce=0 conf/eth0/arp_announce=0" || commands(left) != "conf/eth0/arp_ignore=1" {
		t.Errorf("restored %s, left %s", commands(restored), commands(left))
	}
	expect(t, c, "conf/eth0/arp_ignore=8 conf/eth0/arp_announce=0 conf/eth1/arp_ignore=0 conf/eth1/arp_announce=0")
}

func TestRestorePutsBackWhatTheKernelReset(t *testing.T) {
	for _, root := range []Key{IPv4("ip_forward"), IPv4Conf("all", "forwarding")} {
		t.Run(root.String(), func(t *testing.T) {
			ns := newNS(t, [2]string{"eth0", "eth1"}, [2]string{"eth2", "eth3"})
			c := newClient(t, Config{NetNS: ns})
			const before = "ip_forward=0 conf/eth0/forwarding=1 conf/eth1/forwarding=0 conf/all/accept_redirects=0"
			poke(t, ns, "conf/eth0/forwarding=1 conf/all/accept_redirects=0")
			expect(t, c, before)
			changes := apply(t, c, []Setting{{Key: root, Want: Exactly(1)}, {Key: IPv4Conf("eth1", "forwarding"), Want: Exactly(0)}})
			poke(t, ns, "conf/eth2/forwarding=0") // another program's, and it is to stay
			restore(t, c, changes)
			expect(t, c, before+" conf/eth2/forwarding=0 conf/eth3/forwarding=0")
		})
	}
}

func TestRestoreIPv6Forwarding(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth1"})
	c := newClient(t, Config{NetNS: ns})
	v6 := func(iface string) Key { return IPv6Conf(iface, "forwarding") }
	if len(peek(t, c, v6("all"))) == 0 {
		t.Skip("the kernel has no IPv6")
	}
	poke(t, ns, "net/ipv6/conf/eth0/forwarding=1")
	changes := apply(t, c, DirectorNAT(Director{IPv6: true}))
	expect(t, c, "net/ipv6/conf/all/forwarding=1 net/ipv6/conf/default/forwarding=1 net/ipv6/conf/eth1/forwarding=1 ip_forward=0")
	restore(t, c, changes)
	expect(t, c, "net/ipv6/conf/all/forwarding=0 net/ipv6/conf/default/forwarding=0 net/ipv6/conf/eth0/forwarding=1 net/ipv6/conf/eth1/forwarding=0")
}

// Whatever was there and whatever was applied, it is as before in the end.
func TestRestoreIsTheInverseOfApply(t *testing.T) {
	need.Root(t)
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	var keys []Key
	for _, name := range []string{"forwarding", "accept_redirects", "send_redirects", "arp_filter"} {
		for _, iface := range []string{"all", "default", "eth0", "eth1"} {
			keys = append(keys, IPv4Conf(iface, name))
		}
	}
	keys = append(keys, IPv4("ip_forward"), IPv6Conf("all", "forwarding"), IPv6Conf("eth0", "forwarding"), IPv6Conf("default", "forwarding"))
	for round := range 25 {
		if err := inverse(t, rng, keys); err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
	}
}

// inverse sets some keys, applies some settings one to three times, restores,
// and compares. Keys that nobody sets let eth0 and eth1 follow "default".
func inverse(t *testing.T, rng *rand.Rand, keys []Key) error {
	ns := newNS(t, [2]string{"eth0", "eth1"})
	c := newClient(t, Config{NetNS: ns})
	for _, i := range rng.Perm(len(keys))[:rng.IntN(len(keys))] {
		poke(t, ns, keys[i].String()+"="+strconv.Itoa(rng.IntN(2)))
	}
	before := peek(t, c, keys...)
	var changes []Change
	for range 1 + rng.IntN(3) {
		var want []Setting
		for _, i := range rng.Perm(len(keys))[:5] {
			if k := keys[i]; k != IPv4Conf("all", "forwarding") { // or it may conflict with ip_forward
				want = append(want, Setting{Key: k, Want: Exactly(rng.Int64N(2)), Optional: true})
			}
		}
		made, err := c.Apply(t.Context(), want)
		changes = append(changes, made...)
		if errors.Is(err, ErrConflict) { // all stands against an interface
			continue
		}
		if err != nil {
			return err
		}
		if findings, err := c.Check(t.Context(), want); err != nil || len(findings) != 0 {
			return fmt.Errorf("after Apply of %v: findings %v, error %w", want, findings, err)
		}
	}
	_, left := restore(t, c, changes)
	if diff := cmp.Diff(before, peek(t, c, keys...), cmp.AllowUnexported(Key{})); diff != "" || len(left) != 0 {
		return fmt.Errorf("after %s, left %s\n%s", commands(changes), commands(left), diff)
	}
	return nil
}

func TestInterfaceThatFollowsDefault(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth1"})
	c := newClient(t, Config{NetNS: ns})
	changes := apply(t, c, []Setting{
		{Key: IPv4Conf("eth0", "arp_ignore"), Want: Exactly(0)},
		{Key: IPv4Conf("default", "arp_ignore"), Want: Exactly(1)},
	})
	expect(t, c, "conf/default/arp_ignore=1 conf/eth0/arp_ignore=0 conf/eth1/arp_ignore=1")
	if got := commands(changes); got != "conf/default/arp_ignore=1 conf/eth0/arp_ignore=0" {
		t.Errorf("did %s", got)
	}
	restore(t, c, changes)
	expect(t, c, "conf/default/arp_ignore=0 conf/eth0/arp_ignore=0 conf/eth1/arp_ignore=0")
}

func TestEveryRoleOnThisKernel(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth0.100"}, [2]string{"vrrp.1", "tun"})
	c := newClient(t, Config{NetNS: ns})
	poke(t, ns, "conf/all/rp_filter=1 conf/eth0/rp_filter=0")
	filters, err := c.ReadInterfaces(t.Context(), "rp_filter")
	if err != nil || len(filters) < 7 { // all, default, lo and four, and what tunnel modules give to every namespace
		t.Fatalf("got %v, error %v", filters, err)
	}
	both := []string{"eth0", "eth0.100"}
	ports := []PortRange{{20000, 29999}}
	for name, role := range map[string][]Setting{
		"director NAT":    DirectorNAT(Director{Interfaces: both, IPv4: true, IPv6: true}),
		"director DR":     DirectorDR(Director{Interfaces: both}),
		"director TUN":    DirectorTUN(Director{Interfaces: both}),
		"real server DR":  RealServerDR(both...),
		"real server TUN": RealServerTUN("tun", "eth0"),
		"gateway":         Gateway(Router{Interfaces: both, IPv4: true, IPv6: true, NATPorts: ports}),
		"virtual MAC":     VirtualMAC(filters, MACVLAN{"vrrp.1", "eth0"}),
		"no filter":       NoRPFilter(filters, "tun"),
		"standby proxy":   StandbyProxy(),
		"all at once": append(append(DirectorNAT(Director{Interfaces: both}), VirtualMAC(filters, MACVLAN{"vrrp.1", "eth0"})...),
			append(RealServerTUN("tun", both...), Gateway(Router{Interfaces: both, NATPorts: ports})...)...),
	} {
		t.Run(name, func(t *testing.T) {
			keys := Keys(role)
			before := peek(t, c, keys...)
			if findings, err := c.Check(t.Context(), role); err != nil || (len(findings) == 0) != (name == "director DR") && len(findings) == 0 {
				t.Fatalf("before: findings %v, error %v", findings, err)
			}
			changes := apply(t, c, role)
			if findings, err := c.Check(t.Context(), role); err != nil || len(findings) != 0 {
				t.Fatalf("findings %v, error %v", findings, err)
			}
			for _, ch := range changes {
				if ch.Reason == "" {
					t.Errorf("%v has no reason", ch)
				}
			}
			_, left := restore(t, c, changes)
			if diff := cmp.Diff(before, peek(t, c, keys...), cmp.AllowUnexported(Key{})); diff != "" || len(left) != 0 {
				t.Errorf("not as before: left %v\n%s", left, diff)
			}
		})
	}
}

func TestVirtualMACCopiesTheFilterOfAll(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth1"}, [2]string{"vrrp.1", "vrrp.2"})
	poke(t, ns, "conf/all/rp_filter=1 conf/eth0/rp_filter=0 conf/eth1/rp_filter=2")
	c := newClient(t, Config{NetNS: ns})
	filters, err := c.ReadInterfaces(t.Context(), "rp_filter")
	if err != nil {
		t.Fatal(err)
	}
	want := VirtualMAC(filters, MACVLAN{"vrrp.1", "eth0"}, MACVLAN{"vrrp.2", "eth0"})
	changes := apply(t, c, want)
	expect(t, c, "conf/all/rp_filter=0 conf/default/rp_filter=1 conf/lo/rp_filter=1 conf/eth0/rp_filter=1 conf/eth1/rp_filter=2 conf/vrrp.1/rp_filter=0 conf/vrrp.2/rp_filter=0")
	copied := false
	for _, ch := range changes {
		copied = copied || ch.Key == IPv4Conf("eth0", "rp_filter")
		if ch.Key == IPv4Conf("all", "rp_filter") && !copied {
			t.Error("all is lowered before eth0 has its filter")
		}
	}
	// The next run finds all at 0, and wants the same.
	if filters, err = c.ReadInterfaces(t.Context(), "rp_filter"); err != nil {
		t.Fatal(err)
	}
	if again := apply(t, c, VirtualMAC(filters, MACVLAN{"vrrp.1", "eth0"}, MACVLAN{"vrrp.2", "eth0"})); len(again) != 0 {
		t.Errorf("a second time: %s", commands(again))
	}
}

func TestMissing(t *testing.T) {
	c := newClient(t, Config{NetNS: newNS(t, [2]string{"eth0", "eth1"})})
	for _, tt := range []struct {
		key Key
		say string
	}{
		{IPv4Conf("eth9", "rp_filter"), "no interface eth9"},
		{IPv4Conf("eth0", "no_such"), "no such setting"},
		{NewKey("net", "ipv4", "neigh", "default", "gc_thresh1"), "first network namespace"},
	} {
		changes, err := c.Apply(t.Context(), []Setting{{Key: IPv4("ip_forward"), Want: Exactly(1)}, {Key: tt.key, Want: AtMost(1)}})
		if !errors.Is(err, fs.ErrNotExist) || !contains(err.Error(), tt.say, tt.key.String()) || len(changes) != 0 {
			t.Errorf("%s: %s, error %v, want fs.ErrNotExist that says %q", tt.key, commands(changes), err, tt.say)
		}
	}
	expect(t, c, "ip_forward=0") // a missing key stops it before the first write
}

func TestMissingIPVS(t *testing.T) {
	need.NoIPVS(t)
	c := newClient(t, Config{NetNS: newNS(t)})
	_, err := c.Apply(t.Context(), AnyDirector())
	if !errors.Is(err, fs.ErrNotExist) || !contains(err.Error(), "modprobe ip_vs") {
		t.Errorf("got error %v, want fs.ErrNotExist that says what to do", err)
	}
}

func TestMissingNamespace(t *testing.T) {
	c := newClient(t, Config{NetNS: "/run/netns/there-is-none"})
	if _, err := c.Apply(t.Context(), StandbyProxy()); !errors.Is(err, fs.ErrNotExist) || !contains(err.Error(), "sysctl: apply", "there-is-none") {
		t.Errorf("got error %v, want fs.ErrNotExist that names the namespace", err)
	}
}

func TestConntrackMaxBelongsToTheFirstNamespace(t *testing.T) {
	c := newClient(t, Config{NetNS: newNS(t)})
	k := NewKey("net", "netfilter", "nf_conntrack_max")
	if len(peek(t, c, k)) == 0 {
		need.Module(t, "nf_conntrack")
	}
	_, err := c.Apply(t.Context(), Gateway(Router{ConntrackMax: 1 << 30}))
	if !errors.Is(err, fs.ErrPermission) || !contains(err.Error(), "first one") {
		t.Errorf("got error %v, want fs.ErrPermission that says where it can be set", err)
	}
}

func TestKernelRefusesValue(t *testing.T) {
	c := newClient(t, Config{NetNS: newNS(t)})
	_, err := c.Apply(t.Context(), []Setting{{Key: IPv4("ip_local_port_range"), Want: Text("9 1")}})
	if !errors.Is(err, fs.ErrInvalid) || !contains(err.Error(), "ip_local_port_range") {
		t.Errorf("got error %v, want fs.ErrInvalid that names the key", err)
	}
}

func TestInterfaceGoesDuringApply(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth0p"}, [2]string{"eth1", "eth1p"})
	logger := at(2, func() {
		err := netns.Do(ns, func() error {
			l, err := netlink.LinkByName("eth1")
			if err != nil {
				return err
			}
			return netlink.LinkDel(l)
		})
		if err != nil {
			t.Error(err)
		}
	})
	c := newClient(t, Config{NetNS: ns, Logger: logger})
	changes, err := c.Apply(t.Context(), RealServerDR("eth0", "eth1"))
	if !errors.Is(err, fs.ErrNotExist) || !contains(err.Error(), "no interface eth1") {
		t.Errorf("got error %v, want fs.ErrNotExist that names eth1", err)
	}
	if commands(changes) != "conf/eth0/arp_ignore=1 conf/eth0/arp_announce=2" {
		t.Errorf("says it did %s", commands(changes))
	}
	restore(t, c, changes)
	expect(t, c, "conf/eth0/arp_ignore=0 conf/eth0/arp_announce=0")
}

func TestAnotherProgramDuringApply(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth1"})
	c := newClient(t, Config{NetNS: ns, Logger: at(2, func() { poke(t, ns, "conf/eth0/arp_ignore=0") })})
	changes, err := c.Apply(t.Context(), RealServerDR("eth0"))
	if !errors.Is(err, ErrNotKept) || !contains(err.Error(), "conf/eth0/arp_ignore") || len(changes) != 2 {
		t.Errorf("got %s, error %v, want ErrNotKept that names the key", commands(changes), err)
	}
}

func TestCancel(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth1"})
	ctx, cancel := context.WithCancel(t.Context())
	c := newClient(t, Config{NetNS: ns, Logger: at(1, cancel)})
	changes, err := c.Apply(ctx, RealServerDR("eth0"))
	if !errors.Is(err, context.Canceled) || commands(changes) != "conf/eth0/arp_ignore=1" {
		t.Errorf("got %s, error %v, want the one that was made", commands(changes), err)
	}
	_, left, err := c.Restore(ctx, changes)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("left %v, error %v", left, err)
	}
	expect(t, c, "conf/eth0/arp_ignore=1")
}

func TestConcurrentClientsOfManyNamespaces(t *testing.T) {
	const n = 8
	clients := make([]*Client, n)
	for i := range clients {
		clients[i] = newClient(t, Config{NetNS: newNS(t)})
	}
	var wg sync.WaitGroup
	for i, c := range clients {
		for range 2 {
			wg.Go(func() {
				for range 10 {
					ports := []Setting{{Key: IPv4("ip_local_port_range"), Want: Text(fmt.Sprintf("%d 60999", 1024+2*i))}}
					changes, err := c.Apply(t.Context(), append(StandbyProxy(), ports...))
					if err != nil {
						t.Error(err)
					}
					have, err := c.Read(t.Context(), IPv4("ip_local_port_range"))
					if got := normal(have[IPv4("ip_local_port_range")]); err != nil || got != fmt.Sprintf("%d 60999", 1024+2*i) && got != "32768 60999" {
						t.Errorf("namespace %d has %q, error %v", i, got, err)
					}
					if _, _, err := c.Restore(t.Context(), changes); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, c := range clients {
		expect(t, c, "net/ipv4/ip_nonlocal_bind=0")
	}
}
