package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// cells is how many cells run at a time, unless -parallel says otherwise. They
// wait for timers nearly all the time.
func cells() int {
	if need.Emulated() {
		return 6
	}
	return 32
}

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(cells()))
	}
	labtest.Main(m)
}

// patience is what every wait is multiplied by.
func patience() time.Duration {
	if need.Emulated() {
		return 8
	}
	return 1
}

// room is how much later than the protocol's bound a busy machine may be.
func room() time.Duration { return time.Second * patience() }

var (
	compileOnce sync.Once
	code        []byte // of the program
)

// compiled is the program in a folder of the test's. It is compiled once.
func compiled(t testing.TB) string {
	t.Helper()
	compileOnce.Do(func() {
		var err error
		if code, err = os.ReadFile(bin.Path(t, "vrrp")); err != nil {
			t.Fatal(err)
		}
	})
	file := filepath.Join(t.TempDir(), "vrrp")
	writeProgram(t, file, code)
	return file
}

// writeProgram writes a file that will be executed. No process may be forked
// meanwhile: it would have the file open for writing, and then it is busy.
func writeProgram(t testing.TB, file string, text []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, text, 0o755); err != nil {
		t.Fatal(err)
	}
}

// await waits until ok, and not for ever.
func await(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within * patience()); !ok(); time.Sleep(10 * time.Millisecond * patience()) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is still not so that %s", within*patience(), what)
		}
	}
}

// mode is how a virtual router speaks.
type mode struct {
	name    string
	version int
	ipv6    bool
	unicast bool
	auth    string // "", "pass" or "ah"
	virtual bool   // lvskit and keepalived use the virtual MAC too
	vips    []string

	interval time.Duration // of version 3, instead of its own
}

var (
	v4VIP = []string{"10.51.0.100"}
	v6VIP = []string{"fe80::51", "fd51::100"}
)

// modes are all of them, the slow ones first; FRR speaks no unicast and no authentication.
var modes = []mode{
	{name: "v2", version: 2, vips: v4VIP},
	{name: "v2 unicast", version: 2, unicast: true, vips: v4VIP},
	{name: "v2 PASS", version: 2, auth: "pass", vips: v4VIP},
	{name: "v2 AH", version: 2, auth: "ah", vips: v4VIP},
	{name: "v3 IPv4", version: 3, vips: v4VIP},
	{name: "v3 IPv6", version: 3, ipv6: true, vips: v6VIP},
	{name: "v3 IPv4 unicast", version: 3, unicast: true, vips: v4VIP},
	{name: "v3 IPv6 unicast", version: 3, ipv6: true, unicast: true, vips: v6VIP},
	{name: "v3 IPv4 virtual MAC", version: 3, virtual: true, vips: v4VIP},
	{name: "v3 IPv6 virtual MAC", version: 3, ipv6: true, virtual: true, vips: v6VIP},
	{name: "v3 IPv4 245 addresses", version: 3, vips: manyVIPs()},
}

// manyVIPs are as many addresses as the network has room for, more than netlink and
// ARP can be given at once.
func manyVIPs() (vips []string) {
	for i := 10; i < 255; i++ {
		vips = append(vips, fmt.Sprintf("10.51.0.%d", i))
	}
	return vips
}

// every is the interval of the mode: v2 knows whole seconds only. A router that
// does not get the processor for three of them is dead to the others, rightly, so
// they must not be shorter than what a busy machine does to a program.
func (m mode) every() time.Duration {
	switch {
	case m.version == 2:
		return time.Second
	case m.interval != 0:
		return m.interval
	case need.Emulated():
		return 500 * time.Millisecond
	}
	return 250 * time.Millisecond
}

// skew is how much longer a router of this priority waits (RFC 9568, section
// 6.1; RFC 3768, section 6.1).
func (m mode) skew(priority int) time.Duration {
	return m.every() * time.Duration(256-priority) / 256
}

// rig is a client and two routers on one switch.
//
//	client .9 ---+--- .1 a
//	             +--- .2 b
type rig struct {
	mode    mode
	vrid    uint8
	program string // compiled
	lab     *lab.Lab
	client  *lab.Host
	answers *lab.Capture // at the client
	nodes   []*node
}

// node is the machine that a router runs on.
type node struct {
	name    string
	host    *lab.Host
	link    *lab.Link
	v4, v6  netip.Addr
	wire    *lab.Capture
	decoded int      // frames of it
	sent    []advert // in order
	claims  []claimed
}

func newRig(t testing.TB, program string, m mode) *rig {
	t.Helper()
	r := &rig{mode: m, vrid: 51, program: program, lab: labtest.New(t)}
	lan := labtest.Switch(t, r.lab, "lan")
	r.client = labtest.Host(t, r.lab, "client")
	port := labtest.Connect(t, r.client, lan, "10.51.0.9/24", "fd51::9/64")
	r.answers = capture(t, port, isAnswer)
	for i, name := range []string{"a", "b"} {
		n := &node{name: name, host: labtest.Host(t, r.lab, name)}
		n.v4 = netip.AddrFrom4([4]byte{10, 51, 0, byte(i + 1)})
		n.v6 = netip.MustParseAddr(fmt.Sprintf("fd51::%d", i+1))
		n.link = labtest.Connect(t, n.host, lan, n.v4.String()+"/24", n.v6.String()+"/64")
		n.wire = capture(t, n.link, says)
		n.serve(t)
		r.nodes = append(r.nodes, n)
	}
	if m.unicast {
		for _, n := range r.nodes {
			n.knows(t, r.other(n))
		}
	}
	return r
}

// knows tells a node the MAC of another for good: what is sent by unicast to a
// dead machine would otherwise not get as far as the wire, where we look for it.
func (n *node) knows(t testing.TB, other *node) {
	t.Helper()
	for _, addr := range []netip.Addr{other.v4, other.v6} {
		labtest.Run(t, n.host, "ip", "neigh", "replace", addr.String(), "lladdr", other.link.MAC().String(), "dev", "eth0", "nud", "permanent")
	}
}

func capture(t testing.TB, l *lab.Link, filter func([]byte) bool) *lab.Capture {
	t.Helper()
	c, err := l.Capture(filter)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve answers every connection with the node's name.
func (n *node) serve(t testing.TB) {
	t.Helper()
	ln, err := n.host.Listen("tcp", "[::]:80")
	if err != nil {
		t.Fatal(err)
	}
	n.host.Go(func(context.Context) error { // until the lab closes the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return nil
			}
			_, _ = io.WriteString(conn, n.name)
			conn.Close()
		}
	})
}

// own is the node's own address in the mode's family.
func (n *node) own(m mode) netip.Addr {
	if m.ipv6 {
		return n.v6
	}
	return n.v4
}

// other is the node that n is not.
func (r *rig) other(n *node) *node {
	if n == r.nodes[0] {
		return r.nodes[1]
	}
	return r.nodes[0]
}

// service is the virtual address that the client uses.
func (m mode) service() string { return m.vips[len(m.vips)-1] }

// ask connects to the virtual address and returns the name of who answers.
func (r *rig) ask(t testing.TB) string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second*patience())
	defer cancel()
	conn, err := r.client.Dial(ctx, "tcp", net.JoinHostPort(r.mode.service(), "80"))
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second * patience()))
	name, _ := io.ReadAll(conn)
	return string(name)
}

// neighbour is the MAC that the client has for the virtual address.
func (r *rig) neighbour(t testing.TB) (mac string) {
	t.Helper()
	listed(t, r.client, func(nl *netlink.Handle) error {
		entries, err := nl.NeighList(0, netlink.FAMILY_ALL)
		for _, e := range entries {
			if e.IP.String() == r.mode.service() {
				mac = e.HardwareAddr.String()
			}
		}
		return err
	})
	return mac
}

// listed asks the kernel about a host, again when what it lists has changed
// meanwhile.
func listed(t testing.TB, h *lab.Host, ask func(*netlink.Handle) error) {
	t.Helper()
	err := h.Do(func() error {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer nl.Close()
		for range 10 {
			if err = ask(nl); !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// whoAnswers makes the client forget the address and look for it again, some
// times, and returns the MACs of all that answered.
func (r *rig) whoAnswers(t testing.TB) []string {
	t.Helper()
	seen, rounds := len(r.answers.Frames()), 3
	if need.Emulated() {
		rounds = 1
	}
	for range rounds {
		// What is not there cannot be forgotten.
		_, _ = r.client.Run(t.Context(), "ip", "neigh", "del", r.mode.service(), "dev", "eth0")
		_, _ = r.client.Run(t.Context(), "ping", "-n", "-c1", "-W1", r.mode.service())
	}
	var macs []string
	for _, f := range r.answers.Frames()[seen:] {
		if a, mac := answer(f.Data); a == netip.MustParseAddr(r.mode.service()) {
			macs = append(macs, mac.String())
		}
	}
	slices.Sort(macs)
	return slices.Compact(macs)
}

// holds tells whether one of the virtual addresses is on an interface of the node.
func (n *node) holds(t testing.TB, vips ...string) bool {
	t.Helper()
	held := false
	listed(t, n.host, func(nl *netlink.Handle) error {
		addrs, err := nl.AddrList(nil, netlink.FAMILY_ALL)
		held = slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return slices.Contains(vips, a.IP.String()) })
		return err
	})
	return held
}

// links are the node's interfaces and addresses.
func (n *node) links(t testing.TB) string {
	t.Helper()
	return labtest.Run(t, n.host, "ip", "-o", "link", "show") + labtest.Run(t, n.host, "ip", "-o", "address", "show")
}
