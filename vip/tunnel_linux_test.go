package vip

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

var (
	server4 = netip.MustParseAddr("192.168.247.135")
	server6 = netip.MustParseAddr("fd00::135")
	vip4    = clusterVIP
	vip6    = netip.MustParseAddr("fd00:5::188")
)

// A director reaches the virtual address on a real server through a tunnel
// that ip makes, in every combination that IPVS has.
func TestTunnelingTakesWhatADirectorSends(t *testing.T) {
	tests := []struct {
		name    string
		tunnel  Tunnel
		vip     netip.Addr
		modules []string
		peer    string // arguments of ip link add at the director
	}{
		{"ipip", Tunnel{Local: server4}, vip4, []string{"ipip"}, "type ipip local 192.168.247.131 remote 192.168.247.135"},
		{"IPv6 in IPv4", Tunnel{Local: server4}, vip6, []string{"sit"}, "type sit local 192.168.247.131 remote 192.168.247.135"},
		{"IPv4 in IPv6", Tunnel{Local: server6}, vip4, []string{"ip6_tunnel"}, "type ip6tnl mode any local fd00::131 remote fd00::135 encaplimit none"},
		{"IPv6 in IPv6", Tunnel{Local: server6}, vip6, []string{"ip6_tunnel"}, "type ip6tnl mode any local fd00::131 remote fd00::135 encaplimit none"},
		{"gre", Tunnel{Kind: GRE, Local: server4}, vip4, []string{"ip_gre"}, "type gre local 192.168.247.131 remote 192.168.247.135"},
		{"gre with checksum", Tunnel{Kind: GRE, Local: server4, Checksum: true}, vip4, []string{"ip_gre"}, "type gre local 192.168.247.131 remote 192.168.247.135 csum"},
		{"gre, IPv6 in IPv4", Tunnel{Kind: GRE, Local: server4}, vip6, []string{"ip_gre"}, "type gre local 192.168.247.131 remote 192.168.247.135"},
		{"gre in IPv6", Tunnel{Kind: GRE, Local: server6}, vip4, []string{"ip6_gre"}, "type ip6gre local fd00::131 remote fd00::135 encaplimit none"},
		{"gue", Tunnel{Local: server4, GUEPort: 6080}, vip4, []string{"ipip", "fou"}, "type ipip local 192.168.247.131 remote 192.168.247.135 encap gue encap-sport auto encap-dport 6080"},
		{"gue, IPv6 in IPv4", Tunnel{Local: server4, GUEPort: 6080}, vip6, []string{"sit", "fou"}, "type sit local 192.168.247.131 remote 192.168.247.135 encap gue encap-sport auto encap-dport 6080"},
		{"gue in IPv6", Tunnel{Local: server6, GUEPort: 6080}, vip6, []string{"ip6_tunnel", "fou6"}, "type ip6tnl mode any local fd00::131 remote fd00::135 encaplimit none encap gue encap-sport auto encap-dport 6080"},
		{"tunl0", Tunnel{Name: "tunl0", Existing: true}, vip4, []string{"ipip"}, "type ipip local 192.168.247.131 remote 192.168.247.135"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			need.Module(t, tt.modules...)
			c := newCluster(t)
			server := on(t, c.server)
			if tt.tunnel.Existing {
				server.ip("link set tunl0 up")
			}
			server.set("ipv4", "all", "rp_filter", "1")
			labtest.Run(t, c.director, "ip", strings.Fields("link add tun9 "+tt.peer)...)
			labtest.Run(t, c.director, "ip", "link", "set", "tun9", "up")
			src := "192.168.247.131"
			if tt.vip.Is6() {
				src = "fd00::131"
			}
			labtest.Run(t, c.director, "ip", "route", "add", tt.vip.String(), "dev", "tun9", "src", src)
			links := server.ip("-o link")

			m := server.manager(Config{})
			state := Tunneling(tt.tunnel, []netip.Addr{tt.vip}, "eth0")
			if got := server.apply(m, state); len(got) < 2 {
				t.Errorf("changes %q", got)
			}
			echo(t, c.server, netip.AddrPortFrom(tt.vip, 80), "server")
			if who, err := ask(t, c.director, netip.AddrPortFrom(tt.vip, 80)); who != "server" {
				t.Errorf("through the tunnel: %q, %v\n%s", who, err, server.ip("-d -s address"))
			}
			equal(t, "again", server.apply(m, state), []string{})

			m.Close() // killed
			m = server.manager(Config{})
			equal(t, "after a kill", server.apply(m, state), []string{})
			server.release(m)
			if now := server.ip("-o link"); now != links {
				t.Errorf("devices after release:\n%s\nbefore:\n%s", now, links)
			}
			if tt.tunnel.GUEPort != 0 {
				if left := server.ip("fou show"); strings.TrimSpace(left) != "" {
					t.Errorf("ports after release: %s", left)
				}
			}
		})
	}
}

func TestBothFamiliesInOneTunneling(t *testing.T) {
	need.Module(t, "ipip", "sit", "fou")
	h := newHost(t)
	m := h.manager(Config{})
	h.ip("address add 192.168.247.135/24 dev eth0")
	state := Tunneling(Tunnel{Local: server4, GUEPort: 6080, MTU: 1400}, []netip.Addr{vip4, vip6}, "eth0")
	h.apply(m, state)
	equal(t, "lvs0", h.prefixes("lvs0"), []string{vip4.String() + "/32"})
	equal(t, "lvs0-6", h.prefixes("lvs0-6"), []string{vip6.String() + "/128"})
	if out := h.ip("link show lvs0"); !strings.Contains(out, "mtu 1400") {
		t.Errorf("lvs0: %s", out)
	}
	state.Tunnels[0].MTU = 1390
	got := h.apply(m, state)
	if !slices.Contains(got, "ip link delete lvs0") || !slices.Contains(got, "ip address add 192.168.247.188/32 dev lvs0") {
		t.Errorf("changed MTU: %q", got)
	}
	equal(t, "lvs0", h.prefixes("lvs0"), []string{vip4.String() + "/32"})
	m.Close()
	m = h.manager(Config{})
	if _, err := m.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := h.ip("link"); strings.Contains(out, "lvs0") {
		t.Errorf("left: %s", out)
	}
	if out := h.ip("fou show"); strings.TrimSpace(out) != "" {
		t.Errorf("left: %s", out)
	}
}

func TestForeignDevicesArePreserved(t *testing.T) {
	need.Module(t, "ipip", "fou")
	h := newHost(t)
	h.ip("link add lvs0 type ipip local 10.0.0.9")
	m := h.manager(Config{})
	for _, tunnel := range []Tunnel{
		{Local: server4}, // the name is taken
		{Name: "lvs7", Local: netip.MustParseAddr("10.0.0.9")}, // the parameters are
	} {
		if _, err := m.Apply(t.Context(), Tunneling(tunnel, []netip.Addr{vip4}, "eth0")); !errors.Is(err, ErrForeign) {
			t.Errorf("%+v: %v, want ErrForeign", tunnel, err)
		}
	}
	h.ip("fou add port 6080 gue")
	if _, err := m.Apply(t.Context(), Tunneling(Tunnel{Name: "lvs7", Local: server4, GUEPort: 6080}, []netip.Addr{vip4}, "eth0")); !errors.Is(err, ErrForeign) {
		t.Errorf("a foreign port: %v, want ErrForeign", err)
	}
	h.release(m)
	if out := h.ip("link show lvs0"); !strings.Contains(out, "lvs0") {
		t.Error("the foreign device has gone")
	}
	if out := h.ip("fou show"); !strings.Contains(out, "6080") {
		t.Error("the foreign port has gone")
	}
}

func TestADeviceKilledHalfWayIsOurs(t *testing.T) {
	need.Module(t, "ipip")
	h := newHost(t)
	h.ip("link add " + tempName(DefaultMark) + " type ipip local 192.168.247.135")
	m := h.manager(Config{})
	h.apply(m, Tunneling(Tunnel{Local: server4}, []netip.Addr{vip4}, "eth0"))
	if out := h.ip("link"); strings.Contains(out, tempPrefix) || !strings.Contains(out, "lvs0") {
		t.Errorf("devices: %s", out)
	}
}

func TestMissingModule(t *testing.T) {
	h := newHost(t)
	if out, err := h.run("ip", "link", "add", "probe0", "type", "ipip", "local", "10.9.9.9"); err == nil || !strings.Contains(out, "Unknown device type") {
		t.Skip("the kernel has ipip")
	}
	m := h.manager(Config{})
	_, err := m.Apply(t.Context(), Tunneling(Tunnel{Local: server4}, []netip.Addr{vip4}, "eth0"))
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "modprobe ipip") {
		t.Errorf("err = %v", err)
	}
	h.release(m)
	_, err = m.Apply(t.Context(), Tunneling(Tunnel{Name: "tunl0", Existing: true}, []netip.Addr{vip4}, "eth0"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v, want fs.ErrNotExist", err)
	}
}
