package vip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// virtualState is both families of VRID 51 on eth0.
func virtualState() State {
	s := want("10.0.0.100@vrrp.51", "fd00::100@vrrp6.51")
	s.VirtualMACs = []VirtualMAC{{Parent: "eth0", VRID: 51}, {Parent: "eth0", VRID: 51, IPv6: true}}
	return s
}

const (
	virtual4 = "00:00:5e:00:01:33"
	virtual6 = "00:00:5e:00:02:33"
)

func needMacvlan(t *testing.T) {
	t.Helper()
	h := newHost(t)
	if out, err := h.run("ip", "link", "add", "link", "eth0", "type", "macvlan", "mode", "bridge"); err != nil {
		need.Module(t, "macvlan")
		t.Skipf("no macvlan: %s", out)
	}
}

// tells is which MAC a frame of ARP or neighbour discovery shows for an address;
// nil if it shows none. The frame's own source counts too.
func tells(data []byte, addr netip.Addr) (macs []string) {
	switch {
	case len(data) >= 42 && data[12] == 8 && data[13] == 6 && bytes.Equal(data[28:32], addr.AsSlice()):
		macs = append(macs, net.HardwareAddr(data[6:12]).String(), net.HardwareAddr(data[22:28]).String())
	case len(data) >= 78 && data[12] == 0x86 && data[13] == 0xdd && data[20] == protoICMPv6:
		src := bytes.Equal(data[22:38], addr.AsSlice())
		target := bytes.Equal(data[62:78], addr.AsSlice())
		if data[54] == typeAdvertise && target || data[54] == typeSolicit && src {
			macs = append(macs, net.HardwareAddr(data[6:12]).String())
			if len(data) >= 86 {
				macs = append(macs, net.HardwareAddr(data[80:86]).String())
			}
		}
	}
	return macs
}

// sendFrom sends a packet from an address that is there to the client, whose MAC
// must be found first.
func sendFrom(t *testing.T, h *lab.Host, from, to string) {
	t.Helper()
	labtest.Run(t, h, "ip", "neigh", "flush", "dev", "eth0")
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}, Timeout: time.Second}
	err := h.Do(func() error {
		conn, err := d.DialContext(t.Context(), "udp", net.JoinHostPort(to, "9"))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "x")
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestVirtualMACIsTheOnlyOneShown(t *testing.T) {
	needMacvlan(t)
	need.Program(t, "arping", "ping")
	p := newPair(t)
	frames := capture(t, p.linkA)
	a, b := on(t, p.a), on(t, p.b)
	// As distributions set it; and what must not be copied to the device.
	for iface, keys := range map[string]string{"all": "rp_filter", "eth0": "rp_filter", "default": "arp_filter"} {
		a.set("ipv4", iface, keys, "1")
	}
	ma, mb := a.manager(Config{State: virtualState()}), b.manager(Config{State: virtualState()})
	take := func(m *Manager) {
		t.Helper()
		if err := errors.Join(m.Acquire(t.Context()), m.Announce(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	serve := func(h *lab.Host) {
		echo(t, h, netip.AddrPortFrom(pairVIP4, 80), h.Name())
		echo(t, h, netip.AddrPortFrom(pairVIP6, 80), h.Name())
	}
	take(ma)
	serve(p.a)
	answers := func(want string) {
		t.Helper()
		for _, addr := range []netip.Addr{pairVIP4, pairVIP6} {
			if who, err := ask(t, p.client, netip.AddrPortFrom(addr, 80)); who != want || err != nil {
				t.Errorf("%v answers %q, %v", addr, who, err)
			}
		}
		got := neighbour(t, p.client, pairVIP4) + " " + neighbour(t, p.client, pairVIP6)
		if got != virtual4+" "+virtual6 {
			t.Errorf("the client has %s", got)
		}
	}
	answers("a")
	if out := labtest.Run(t, p.client, "arping", "-c", "2", "-w", "20", "-I", "eth0", "10.0.0.100"); !strings.Contains(strings.ToLower(out), virtual4) || strings.Contains(strings.ToLower(out), p.linkA.MAC().String()) {
		t.Errorf("arping: %s", out)
	}
	if out := labtest.Run(t, p.client, "arping", "-c", "2", "-w", "20", "-I", "eth0", "10.0.0.11"); strings.Contains(strings.ToLower(out), "00:00:5e") {
		t.Errorf("the parent's address by the virtual MAC: %s", out)
	}
	sendFrom(t, p.a, "10.0.0.100", "10.0.0.9")
	sendFrom(t, p.a, "fd00::100", "fd00::9")
	within(t, 30*time.Second, "the holder has asked for the client", func() bool {
		return neighbour(t, p.a, netip.MustParseAddr("10.0.0.9")) != "" && neighbour(t, p.a, netip.MustParseAddr("fd00::9")) != ""
	})
	for _, dev := range []string{"vrrp.51", "vrrp6.51"} {
		if out := a.ip("-6 address show dev " + dev); strings.Contains(out, "fe80") {
			t.Errorf("%s has a link-local address: %s", dev, out)
		}
		ra := strings.TrimSpace(labtest.Run(t, p.a, "cat", "/proc/sys/net/ipv6/conf/"+dev+"/accept_ra"))
		if got := a.sysctl(dev, "arp_filter") + a.sysctl(dev, "rp_filter") + a.sysctl(dev, "accept_local") + ra; got != "0210" {
			t.Errorf("settings of %s: %s", dev, got)
		}
	}
	if changes, err := ma.Apply(t.Context(), virtualState()); len(changes) > 0 || err != nil {
		t.Errorf("a second time: %q, %v", commands(changes), err)
	}

	a.release(ma)
	take(mb)
	serve(p.b)
	answers("b")
	if got := a.sysctl("eth0", "arp_ignore") + a.sysctl("eth0", "arp_announce") + a.sysctl("eth0", "rp_filter") + a.sysctl("all", "rp_filter"); got != "0011" {
		t.Errorf("settings after release: %s", got)
	}
	if names := a.linkNames(); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "vrrp") }) {
		t.Errorf("left: %v", names)
	}
	b.release(mb)
	shown := map[string]int{}
	for _, f := range frames.Frames() {
		for _, addr := range []netip.Addr{pairVIP4, pairVIP6} {
			for _, mac := range tells(f.Data, addr) {
				shown[fmt.Sprint(addr, " ", mac, " ", f.FromHost)]++
			}
		}
	}
	for what := range shown {
		if !strings.Contains(what, "00:00:5e") {
			t.Errorf("the wire showed %s", what)
		}
	}
	if shown["10.0.0.100 "+virtual4+" true"] == 0 || shown["fd00::100 "+virtual6+" true"] == 0 {
		t.Errorf("the wire showed %v", shown)
	}
}

func TestVirtualMACIsPutBackAndSwept(t *testing.T) {
	needMacvlan(t)
	h := newHost(t)
	m, seen, _ := h.running(Config{})
	h.apply(m, virtualState())
	h.ip("link del vrrp.51")
	within(t, 30*time.Second, "it is back", func() bool { return seen.has(Back, "device vrrp.51") && seen.has(Back, "10.0.0.100/32 dev vrrp.51") })
	h.ip("link set vrrp6.51 down")
	within(t, 30*time.Second, "it is up", func() bool {
		link, err := h.run("ip", "link", "show", "vrrp6.51")
		addr, err6 := h.run("ip", "address", "show", "dev", "vrrp6.51")
		return err == nil && err6 == nil && strings.Contains(link, ",UP") && strings.Contains(addr, "fd00::100/128")
	})
	m.cfg.Keep = true // what is left as after SIGKILL
	h.set("ipv4", "vrrp.51", "accept_local", "0")
	within(t, 45*time.Second, "the setting is put back", func() bool {
		h.ip("link set eth0p promisc on") // any notice
		h.ip("link set eth0p promisc off")
		return h.sysctl("vrrp.51", "accept_local") == "1"
	})
	if changes, err := m.Apply(t.Context(), virtualState()); len(changes) > 0 || err != nil {
		t.Errorf("after a setting was put back: %q, %v", commands(changes), err)
	}
	m.Close()
	next := h.manager(Config{})
	got, err := next.Sweep(t.Context())
	if err != nil || len(got) < 4 {
		t.Errorf("sweep: %q, %v", commands(got), err)
	}
	equal(t, "devices", slices.DeleteFunc(h.linkNames(), func(n string) bool { return !strings.HasPrefix(n, "vrrp") }), nil)
	if got := h.sysctl("eth0", "arp_ignore") + h.sysctl("eth0", "arp_announce"); got != "00" {
		t.Errorf("settings %s", got)
	}
}

func TestPlanOfAVirtualMAC(t *testing.T) {
	have := machine("ours 10.0.0.2/32 eth0")
	for i := range have.Links {
		if have.Links[i].Name == "eth0" {
			have.Links[i].MAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
		}
	}
	s := virtualState()
	s.VirtualMACs[1].Name, s.Addresses[1].Interface = "v6", "v6"
	changes, err := Plan(have, s)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "plan", commands(changes), []string{
		"sysctl -w net/ipv4/conf/eth0/arp_ignore=1",
		"sysctl -w net/ipv4/conf/eth0/arp_announce=2",
		`ip link add link eth0 name vrrp.51 address 00:00:5e:00:01:33 type macvlan mode bridge && ip link set vrrp.51 addrgenmode none` +
			` && sysctl -w net/ipv4/conf/vrrp.51/accept_local=1 && sysctl -w net/ipv4/conf/vrrp.51/arp_ignore=1 && sysctl -w net/ipv4/conf/vrrp.51/arp_announce=2` +
			` && sysctl -w net/ipv6/conf/vrrp.51/accept_ra=0 && ip link set vrrp.51 up alias "lvskit vip 86: virtual MAC of VRID 51"`,
		changes[3].String(),
		"ip address add 10.0.0.100/32 dev vrrp.51",
		"ip address add fd00::100/128 dev v6 nodad preferred_lft 0",
		"ip address del 10.0.0.2/32 dev eth0",
	})
	have.All[ARPFilter] = 1
	if _, err := Plan(have, s); err == nil || !strings.Contains(err.Error(), "set it to 0") {
		t.Errorf("arp_filter on all: %v", err)
	}
	for name, v := range map[string]VirtualMAC{
		"no VRID": {Parent: "eth0"}, "no parent": {VRID: 1}, "on itself": {Name: "eth0", Parent: "eth0", VRID: 1}, "reserved": {Name: "all", Parent: "eth0", VRID: 1},
	} {
		if err := (State{VirtualMACs: []VirtualMAC{v}}).Validate(); err == nil {
			t.Errorf("%s is valid", name)
		}
	}
	twice := State{VirtualMACs: []VirtualMAC{{Parent: "eth0", VRID: 1}, {Name: "other", Parent: "eth0", VRID: 1}}}
	if twice.Validate() == nil {
		t.Error("one MAC twice on one parent is valid")
	}
	if clash(State{VirtualMACs: twice.VirtualMACs[:1]}, State{VirtualMACs: twice.VirtualMACs[1:]}, "b") == nil {
		t.Error("one MAC in two sets under two names is no clash")
	}
}

// Many devices end together, those of other groups and the foreign ones stay.
func TestRunEndsManyVirtualMACsAtOnce(t *testing.T) {
	needMacvlan(t)
	h := newHost(t)
	h.ip("link add link eth0 name foreign0 type macvlan mode bridge")
	m, _, stop := h.running(Config{})
	for i := range 60 {
		s := want(fmt.Sprintf("10.0.0.%d@vrrp.%d", i+1, i+1))
		s.VirtualMACs = []VirtualMAC{{Parent: "eth0", VRID: uint8(i + 1)}}
		h.acquire(h.newSet(m, fmt.Sprint(i), s))
	}
	before := len(h.linkNames())
	start := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	t.Logf("60 devices ended in %v", time.Since(start))
	if after := h.linkNames(); len(after) != before-60 || !slices.ContainsFunc(after, func(n string) bool { return strings.HasPrefix(n, "foreign0") }) {
		t.Errorf("left: %v", after)
	}
	if left, err := filepath.Glob(filepath.Join(h.dir, "*.json*")); left != nil || err != nil {
		t.Errorf("left in the run dir: %v, %v", left, err)
	}
	for _, s := range m.Status().Sets {
		if s.Holding {
			t.Errorf("%s is held", s.Name)
		}
	}
	// A group that something else is in is not deleted.
	h.ip(fmt.Sprint("link set foreign0 group ", deleteGroup|DefaultMark))
	h.apply(m, virtualState())
	h.release(m)
	if names := h.linkNames(); len(names) != before-60 {
		t.Errorf("left: %v", names)
	}
}
