package vip

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// machine is a snapshot: eth0 (2), lo (1), and addresses such as
// "ours 10.0.0.1/32 eth0" or "foreign fd00::1/64 eth0 preferred".
func machine(addrs ...string) Snapshot {
	conf := func() Conf { return Conf{ARPIgnore: 0, ARPAnnounce: 0, RPFilter: 0, PromoteSecondaries: 1} }
	s := Snapshot{
		Mark:  DefaultMark,
		Links: []Link{{Index: 1, Name: "lo", Up: true, Conf: conf()}, {Index: 2, Name: "eth0", Up: true, Conf: conf()}},
		All:   conf(), Default: conf(),
	}
	for _, text := range addrs {
		f := strings.Fields(text)
		p := netip.MustParsePrefix(f[1])
		a := Present{Address: Address{Interface: f[2], Addr: p.Addr(), Bits: p.Bits()}, Index: s.link(f[2]).Index, Ours: f[0] == "ours"}
		for _, flag := range f[3:] {
			switch flag {
			case "secondary":
				a.Secondary = true
			case "tentative":
				a.Tentative = true
			case "preferred":
				a.Preferred = true
			}
		}
		s.Addresses = append(s.Addresses, a)
	}
	return s
}

func TestPlan(t *testing.T) {
	tunnel := Tunnel{Local: netip.MustParseAddr("10.0.0.5"), GUEPort: 6080}
	strict := machine()
	strict.Default = Conf{RPFilter: 1}
	silent := machine()
	silent.link("eth0").Conf = Conf{ARPIgnore: 1, ARPAnnounce: 2}
	held := machine("ours 10.0.0.1/32 lo")
	held.link("eth0").Conf = Conf{ARPIgnore: 1, ARPAnnounce: 2}
	held.Originals = []Setting{{"eth0", ARPIgnore, 1, 0}, {"eth0", ARPAnnounce, 2, 0}}
	undone := machine()
	undone.Originals = []Setting{{"eth0", ARPIgnore, 1, 8}}
	primary := machine("ours 10.0.0.1/24 eth0", "foreign 10.0.0.2/24 eth0 secondary")
	primary.All, primary.link("eth0").Conf = Conf{}, Conf{}
	dotted := machine()
	dotted.Links = append(dotted.Links, Link{Index: 3, Name: "eth0.100", Up: true, Conf: Conf{}})
	left := machine()
	left.Links = append(left.Links, Link{Index: 9, Name: "lvs0", Up: true, Ours: true, Alias: "lvskit vip 86: of another configuration"})
	left.Addresses = []Present{{Address: want("10.0.0.1/32@lvs0").Addresses[0], Index: 9, Ours: true}}
	left.Ports = []GUE{{Port: 7000}}

	tests := []struct {
		name string
		have Snapshot
		want State
		plan string // one command a line
		errs []error
	}{
		{"nothing", machine("foreign 10.0.0.1/24 eth0"), State{}, "", nil},
		{"an address is a /32", machine(), want("10.0.0.1@lo"), "ip address add 10.0.0.1/32 dev lo", nil},
		{"an IPv4-mapped address is IPv4", machine(), want("::ffff:10.0.0.1@lo"), "ip address add 10.0.0.1/32 dev lo", nil},
		{"IPv6 is a /128, usable at once, never a source", machine(), want("fd00::1@lo"), "ip address add fd00::1/128 dev lo nodad preferred_lft 0", nil},
		{"what is there stays", machine("ours 10.0.0.1/32 eth0", "ours fd00::1/128 eth0"), want("10.0.0.1@eth0", "fd00::1@eth0"), "", nil},
		{"additions before removals", machine("ours 10.0.0.1/32 eth0"), want("10.0.0.1@lo"), "ip address add 10.0.0.1/32 dev lo\nip address del 10.0.0.1/32 dev eth0", nil},
		{"another prefix length of ours is removed first", machine("ours 10.0.0.1/24 eth0"), want("10.0.0.1@eth0"), "ip address del 10.0.0.1/24 dev eth0\nip address add 10.0.0.1/32 dev eth0", nil},
		{"a double of ours is removed", machine("ours 10.0.0.1/24 eth0", "ours 10.0.0.1/32 eth0"), want("10.0.0.1@eth0"), "ip address del 10.0.0.1/24 dev eth0", nil},
		{"a duplicate found by the kernel is made anew", machine("ours fd00::1/128 eth0 tentative"), want("fd00::1@eth0"), "ip address del fd00::1/128 dev eth0\nip address add fd00::1/128 dev eth0 nodad preferred_lft 0", nil},
		{"a possible source is made anew", machine("ours fd00::1/128 eth0 preferred"), want("fd00::1@eth0"), "ip address del fd00::1/128 dev eth0\nip address add fd00::1/128 dev eth0 nodad preferred_lft 0", nil},
		{"foreign with another prefix length", machine("foreign 10.0.0.1/24 eth0"), want("10.0.0.1@eth0", "10.0.0.2@eth0"), "ip address add 10.0.0.2/32 dev eth0", []error{ErrForeign, fs.ErrExist}},
		{"foreign on another interface is no matter", machine("foreign 10.0.0.1/24 eth0"), want("10.0.0.1@lo"), "ip address add 10.0.0.1/32 dev lo", nil},
		{"no interface", machine(), want("10.0.0.1@eth9", "10.0.0.2@lo"), "ip address add 10.0.0.2/32 dev lo", []error{fs.ErrNotExist}},
		{"others of the subnet are kept", primary, State{}, "sysctl -w net/ipv4/conf/eth0/promote_secondaries=1\nip address del 10.0.0.1/24 dev eth0\nsysctl -w net/ipv4/conf/eth0/promote_secondaries=0", nil},

		{"direct routing", machine(), DirectRouting([]netip.Addr{vipA}, "eth0"), "sysctl -w net/ipv4/conf/eth0/arp_ignore=1\nsysctl -w net/ipv4/conf/eth0/arp_announce=2\nip address add 10.0.0.1/32 dev lo", nil},
		{"direct routing on all", machine(), DirectRouting([]netip.Addr{vipA}), "sysctl -w net/ipv4/conf/all/arp_ignore=1\nsysctl -w net/ipv4/conf/all/arp_announce=2\nip address add 10.0.0.1/32 dev lo", nil},
		{"IPv6 needs no suppression", machine(), DirectRouting([]netip.Addr{vipB}, "eth0"), "ip address add fd00::1/128 dev lo nodad preferred_lft 0", nil},
		{"a name with a dot", dotted, State{SuppressARP: []string{"eth0.100"}}, "sysctl -w net/ipv4/conf/eth0.100/arp_ignore=1\nsysctl -w net/ipv4/conf/eth0.100/arp_announce=2", nil},
		{"silent already", silent, DirectRouting([]netip.Addr{vipA}, "eth0"), "ip address add 10.0.0.1/32 dev lo", nil},
		{"the same again", held, DirectRouting([]netip.Addr{vipA}, "eth0"), "", nil},
		{"ARP answers only when the address has gone", held, State{}, "ip address del 10.0.0.1/32 dev lo\nsysctl -w net/ipv4/conf/eth0/arp_ignore=0\nsysctl -w net/ipv4/conf/eth0/arp_announce=0", nil},
		{"no address where ARP would answer", machine(), DirectRouting([]netip.Addr{vipA}, "eth0", "eth9"), "sysctl -w net/ipv4/conf/eth0/arp_ignore=1\nsysctl -w net/ipv4/conf/eth0/arp_announce=2", []error{fs.ErrNotExist}},

		{"tunneling", machine(), Tunneling(tunnel, []netip.Addr{vipA}), `sysctl -w net/ipv4/conf/all/arp_ignore=1
sysctl -w net/ipv4/conf/all/arp_announce=2
ip fou add port 6080 gue
ip link add lvs0 type ipip local 10.0.0.5 && ip link set lvs0 up alias "lvskit vip 86: ipip local 10.0.0.5 csum false mtu 0"
ip address add 10.0.0.1/32 dev lvs0`, nil},
		{"tunneling where rp_filter would drop clients", strict, Tunneling(Tunnel{Name: "t", Kind: GRE, Local: tunnel.Local, Checksum: true, MTU: 1400}, []netip.Addr{vipB}), `ip link add t type gre local 10.0.0.5 csum && ip link set t mtu 1400 up alias "lvskit vip 86: gre local 10.0.0.5 csum true mtu 1400"
sysctl -w net/ipv4/conf/t/rp_filter=2
ip address add fd00::1/128 dev t nodad preferred_lft 0`, nil},
		{"an existing device that is not there", machine(), Tunneling(Tunnel{Name: "tunl0", Existing: true}, []netip.Addr{vipB}), "", []error{fs.ErrNotExist}},
		{"a foreign device", machine(), State{Tunnels: []Tunnel{{Name: "eth0", Local: tunnel.Local}}}, "", []error{ErrForeign}},
		{"a device and a port of before", left, State{}, "ip fou del port 7000 gue\nip link delete lvs0", nil},
		{"a device with other parameters", left, State{Tunnels: []Tunnel{tunnel}, Addresses: want("10.0.0.1@lvs0").Addresses}, `ip link delete lvs0
ip fou add port 6080 gue
ip link add lvs0 type ipip local 10.0.0.5 && ip link set lvs0 up alias "lvskit vip 86: ipip local 10.0.0.5 csum false mtu 0"
ip address add 10.0.0.1/32 dev lvs0
ip fou del port 7000 gue`, nil},
		{"an original is remembered from the first time", undone, State{SuppressARP: []string{"eth0"}}, "sysctl -w net/ipv4/conf/eth0/arp_ignore=1\nsysctl -w net/ipv4/conf/eth0/arp_announce=2", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes, err := Plan(tt.have, tt.want)
			if got := strings.Join(commands(changes), "\n"); got != tt.plan {
				t.Errorf("plan:\n%s\nwant:\n%s", got, tt.plan)
			}
			for _, e := range tt.errs {
				if !errors.Is(err, e) {
					t.Errorf("err = %v, want %v", err, e)
				}
			}
			if err != nil && tt.errs == nil {
				t.Errorf("err = %v", err)
			}
			if tt.name == "an original is remembered from the first time" && changes[0].Setting.Was != 8 {
				t.Errorf("was %d, want 8", changes[0].Setting.Was)
			}
		})
	}
}

var vipA, vipB = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")

func commands(changes []Change) []string {
	list := make([]string, len(changes))
	for i, c := range changes {
		list[i] = c.String()
	}
	return list
}

// want is a State of addresses such as "10.0.0.1@eth0" or "10.0.0.1/24@eth0".
func want(addrs ...string) State {
	var s State
	for _, a := range addrs {
		addr, dev, _ := strings.Cut(a, "@")
		if prefix, err := netip.ParsePrefix(addr); err == nil {
			s.Addresses = append(s.Addresses, Address{Interface: dev, Addr: prefix.Addr(), Bits: prefix.Bits()})
			continue
		}
		s.Addresses = append(s.Addresses, Address{Interface: dev, Addr: netip.MustParseAddr(addr)})
	}
	return s
}

func TestStateThatCanNeverBe(t *testing.T) {
	local := netip.MustParseAddr("10.0.0.5")
	tests := map[string]State{
		"no address":                 {Addresses: []Address{{Interface: "lo"}}},
		"no interface":               {Addresses: []Address{{Addr: vipA}}},
		"a path as interface":        {Addresses: []Address{{Interface: "../lo", Addr: vipA}}},
		"too long an interface":      {Addresses: []Address{{Interface: "sixteen-bytes-xx", Addr: vipA}}},
		"multicast":                  want("224.0.0.18@eth0"),
		"unspecified":                want("0.0.0.0@eth0"),
		"broadcast":                  want("255.255.255.255@eth0"),
		"a zone":                     {Addresses: []Address{{Interface: "eth0", Addr: netip.MustParseAddr("fe80::1%eth0")}}},
		"33 bits":                    {Addresses: []Address{{Interface: "lo", Addr: vipA, Bits: 33}}},
		"twice":                      want("10.0.0.1@lo", "10.0.0.1/24@lo"),
		"twice, once mapped":         want("10.0.0.1@lo", "::ffff:10.0.0.1@lo"),
		"an IPv6 label":              {Addresses: []Address{{Interface: "lo", Addr: vipB, Label: "lo:1"}}},
		"an IPv6 scope":              {Addresses: []Address{{Interface: "lo", Addr: vipB, Scope: ScopeHost}}},
		"a label of another device":  {Addresses: []Address{{Interface: "lo", Addr: vipA, Label: "eth0:1"}}},
		"too long a label":           {Addresses: []Address{{Interface: "lo", Addr: vipA, Label: "lo:4567890123456"}}},
		"ARP on lo":                  {SuppressARP: []string{"lo"}},
		"a tunnel from nowhere":      {Tunnels: []Tunnel{{}}},
		"a tunnel of two families":   {Tunnels: []Tunnel{{Kind: IP6Tunnel, Local: local}}},
		"GUE with GRE":               {Tunnels: []Tunnel{{Kind: GRE, Local: local, GUEPort: 1}}},
		"a checksum without GRE":     {Tunnels: []Tunnel{{Local: local, Checksum: true}}},
		"an unknown kind of tunnel":  {Tunnels: []Tunnel{{Kind: 99, Local: local}}},
		"a negative MTU":             {Tunnels: []Tunnel{{Local: local, MTU: -1}}},
		"a reserved name":            {Tunnels: []Tunnel{{Name: tempName(86), Local: local}}},
		"the same device name twice": {Tunnels: []Tunnel{{Local: local}, {Kind: GRE, Local: local}}},
	}
	for name, s := range tests {
		t.Run(name, func(t *testing.T) {
			changes, err := Plan(machine(), s)
			var op *OpError
			if !errors.Is(err, fs.ErrInvalid) || !errors.As(err, &op) || len(changes) > 0 {
				t.Errorf("Plan: %v, %v", changes, err)
			}
			if _, err := New(Config{State: s}); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("New: %v", err)
			}
		})
	}
	for _, cfg := range []Config{{Mark: 3}, {OnLoss: 7}} {
		if _, err := New(cfg); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("New(%+v): %v", cfg, err)
		}
	}
}

func TestText(t *testing.T) {
	for _, scope := range []Scope{ScopeGlobal, ScopeSite, ScopeLink, ScopeHost, 77} {
		var back Scope
		if text, err := scope.MarshalText(); err != nil || back.UnmarshalText(text) != nil || back != scope {
			t.Errorf("scope %v came back as %v", scope, back)
		}
	}
	for kind := range tunnelKinds {
		var back TunnelKind
		if text, err := TunnelKind(kind).MarshalText(); err != nil || back.UnmarshalText(text) != nil || back != TunnelKind(kind) {
			t.Errorf("kind %v came back as %v", kind, back)
		}
	}
	if new(Scope).UnmarshalText([]byte("256")) == nil || new(TunnelKind).UnmarshalText([]byte("vxlan")) == nil {
		t.Error("nonsense was read")
	}
}

func TestOwnerLabelFits(t *testing.T) {
	for name, label := range map[string]string{"eth0": "eth0:lvskit", "enp0s31f6": "enp0s31f6:lvs", "thirteenbytes": "thirteenbytes:v", "fifteen-bytes-x": ""} {
		if got := ownerLabel(name); got != label || len(got) > maxName {
			t.Errorf("%s: %q, want %q", name, got, label)
		}
	}
}

func TestSplitPartsMakingFromRemoving(t *testing.T) {
	changes, err := Plan(machine("ours 10.0.0.1/24 eth0", "ours 10.0.0.2/32 eth0"), want("10.0.0.1@eth0"))
	if err != nil {
		t.Fatal(err)
	}
	making, removing := split(changes)
	if got := commands(making); !slices.Equal(got, []string{"ip address del 10.0.0.1/24 dev eth0", "ip address add 10.0.0.1/32 dev eth0"}) {
		t.Errorf("making %q", got)
	}
	if got := commands(removing); !slices.Equal(got, []string{"ip address del 10.0.0.2/32 dev eth0"}) {
		t.Errorf("removing %q", got)
	}
}
