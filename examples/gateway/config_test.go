package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/nat"
)

// rulesOf are the rules of flags, as text.
func rulesOf(t *testing.T, flags string) []string {
	t.Helper()
	cfg, err := parse(strings.Fields(flags), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	rules, err := cfg.rules(nil)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, r := range rules {
		text = append(text, r.String())
	}
	return text
}

func TestFlagsBecomeRules(t *testing.T) {
	for _, tt := range []struct {
		name, flags string
		want        []string
	}{
		{
			"a firewall machine", "-inside 192.168.160.0/24 -outside-interface ens36 -snat 12.0.0.1 -publish 12.0.0.1:3344=192.168.160.100:3344/tcp",
			[]string{"dnat: tcp destination 12.0.0.1:3344 to 192.168.160.100:3344", "snat: source 192.168.160.0/24 out ens36 to 12.0.0.1"},
		},
		{
			"two families, of which one is masqueraded", "-inside 192.168.160.0/24 -inside fd00::/64 -outside-interface ens36 -snat 12.0.0.1 -masquerade -random",
			[]string{"snat: source 192.168.160.0/24 out ens36 to 12.0.0.1 random", "masquerade: source fd00::/64 out ens36 random"},
		},
		{
			"names, protocols and IPv6", "-publish dns=[2001:db8::1]:53=fd00::100/udp -publish sip=12.0.0.1:5060=192.168.160.100/sctp",
			[]string{"dnat dns: udp destination [2001:db8::1]:53 to fd00::100", "dnat sip: sctp destination 12.0.0.1:5060 to 192.168.160.100"},
		},
		{
			"a range that is shifted, one that stays, one that is joined", "-publish 12.0.0.1:8000-8099=192.168.160.100:9000-9099 -publish 12.0.0.1:7000-7001=192.168.160.100 -publish 12.0.0.1:6000-6001=192.168.160.100:80",
			[]string{"dnat: tcp destination 12.0.0.1:8000-8099 to 192.168.160.100:9000-9099", "dnat: tcp destination 12.0.0.1:7000-7001 to 192.168.160.100", "dnat: tcp destination 12.0.0.1:6000-6001 to 192.168.160.100:80"},
		},
		{
			"a hairpin", "-hairpin -inside 10.0.0.0/8 -inside 192.168.160.0/24 -publish 12.0.0.1:80=192.168.160.100",
			[]string{"dnat: tcp destination 12.0.0.1:80 to 192.168.160.100 hairpin 192.168.160.0/24"},
		},
		{
			"an address that changes", "-inside 10.0.0.0/8 -masquerade -outside-interface ppp0 -publish *:80=10.0.0.1",
			[]string{"dnat: tcp in ppp0 destination *:80 to 10.0.0.1", "masquerade: source 10.0.0.0/8 out ppp0"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := rulesOf(t, tt.flags); !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestRulesOfTheFileComeBeforeTheGeneralOnes(t *testing.T) {
	cfg, err := parse(strings.Fields("-inside 10.0.0.0/8 -masquerade -outside-interface eth1"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	special, err := nat.ParseRule("snat mail: source 10.0.0.25 out eth1 to 12.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := cfg.rules([]nat.Rule{special})
	if err != nil || len(rules) != 2 || rules[0] != special {
		t.Errorf("%v, %v", rules, err)
	}
}

func TestSettingsAreThoseOfTheFamiliesAndPorts(t *testing.T) {
	for _, tt := range []struct {
		name, flags string
		want        []string
	}{
		{
			"IPv4 with a port", "-inside 10.0.0.0/8 -masquerade -outside-interface eth1 -publish 12.0.0.1:80=10.0.0.1",
			[]string{"net/ipv4/ip_forward", "net/ipv4/conf/eth1/forwarding", "net/ipv4/ip_local_reserved_ports"},
		},
		{"IPv6 alone", "-inside fd00::/64 -masquerade -outside-interface eth1", []string{"net/ipv6/conf/all/forwarding"}},
		{"a limit", "-inside fd00::/64 -masquerade -outside-interface eth1 -conntrack-max 100000", []string{"net/ipv6/conf/all/forwarding", "net/netfilter/nf_conntrack_max"}},
		{"all ports of a machine inside", "-publish 12.0.0.1:1024-65534=10.0.0.1:1025-65535", []string{"net/ipv4/ip_forward"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := parse(strings.Fields(tt.flags), t.Output())
			if err != nil {
				t.Fatal(err)
			}
			rules, err := cfg.rules(nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range cfg.settings(rules) {
				got = append(got, s.Key.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWrongFlagsAreRefusedInWords(t *testing.T) {
	for _, tt := range []struct{ name, flags, want string }{
		{"nothing", "", "nothing to do"},
		{"a word too many", "-remove now", "unexpected argument"},
		{"an address for a network", "-inside 192.168.160.100/24", "did you mean 192.168.160.0/24?"},
		{"no way out", "-inside 10.0.0.0/8", "-snat"},
		{"no way out of one family", "-inside fd00::/64 -inside 10.0.0.0/8 -snat 12.0.0.1 -outside-interface eth1", "-inside fd00::/64"},
		{"an address of no family that is inside", "-inside 10.0.0.0/8 -snat 2001:db8::1 -outside-interface eth1", "no -inside network is of its family"},
		{"two addresses of a family", "-inside 10.0.0.0/8 -snat 12.0.0.1 -snat 12.0.0.2 -outside-interface eth1", "-snat 12.0.0.2"},
		{"no inside", "-masquerade -outside-interface eth1 -publish 12.0.0.1:80=10.0.0.1", "give -inside"},
		{"no interface", "-inside 10.0.0.0/8 -masquerade", "give -outside-interface"},
		{"random of nothing", "-random -publish 12.0.0.1:80=10.0.0.1", "-random is for"},
		{"a hairpin of nothing", "-hairpin -inside 10.0.0.0/8 -masquerade -outside-interface eth1", "give -publish"},
		{"a hairpin from elsewhere", "-hairpin -publish 12.0.0.1:80=10.0.0.1", "in no -inside network"},
		{"a hairpin to an address that changes", "-hairpin -inside 10.0.0.0/8 -outside-interface eth1 -publish *:80=10.0.0.1", "give the address"},
		{"any address without an interface", "-publish *:80=10.0.0.1", "give -outside-interface"},
		{"half a port", "-publish 12.0.0.1:80", "write it as"},
		{"no port", "-publish 12.0.0.1=10.0.0.1", "write 12.0.0.1:PORT"},
		{"a port that is none", "-publish 12.0.0.1:65536=10.0.0.1", "no port"},
		{"a range backwards", "-publish 12.0.0.1:20-10=10.0.0.1", "the lower one first"},
		{"ranges of two lengths", "-publish 12.0.0.1:10-20=10.0.0.1:30-39", "ranges of one length"},
		{"a protocol that is none", "-publish 12.0.0.1:80=10.0.0.1:80/tpc", "unknown protocol"},
		{"both families in one", "-publish 12.0.0.1:80=[fd00::1]:80", "both families"},
		{"a network", "-publish 12.0.0.0/24:80=10.0.0.1", "is a network"},
		{"a port twice", "-publish 12.0.0.1:80=10.0.0.1 -publish a=12.0.0.1:80=10.0.0.2", "it publishes what another rule publishes"},
		{"an address that is none", "-inside 10.0.0.0/8 -snat 12.0.0.256 -outside-interface eth1", "12.0.0.256"},
		{"an interface that is a path", "-inside 10.0.0.0/8 -masquerade -outside-interface ../eth1", "no name of an interface"},
		{"a backend that is none", "-backend ipfw", "use auto, nftables"},
		{"less than no connection", "-conntrack-max -1", "positive"},
		{"a flag that is none", "-publsh 12.0.0.1:80=10.0.0.1", "-publsh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(strings.Fields(tt.flags), t.Output())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q answered %v, want an error with %q", tt.flags, err, tt.want)
			}
		})
	}
}
