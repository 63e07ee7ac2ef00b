package nat

import (
	"net/netip"
	"strings"
	"testing"
)

// flowOf reads "udp 1.1.1.1:1 > 2.2.2.2:2 as 3.3.3.3:3 > 4.4.4.4:4": as whom it goes
// where. NAT made what differs; a last word "ipvs" says that IPVS made it.
func flowOf(t testing.TB, text string) flow {
	t.Helper()
	f := flow{protocol: UDP}
	words := strings.Fields(text)
	for p, name := range protocolNames {
		if name == words[0] {
			f.protocol = p
		}
	}
	at := func(i int) netip.AddrPort {
		if !strings.ContainsAny(words[i], "]") && strings.Count(words[i], ":") != 1 {
			return netip.AddrPortFrom(netip.MustParseAddr(words[i]), 0)
		}
		return netip.MustParseAddrPort(words[i])
	}
	f.src, f.dst = at(1), at(3)
	f.from, f.to = f.src, f.dst
	if len(words) > 4 {
		f.from, f.to = at(5), at(7)
	}
	f.snat, f.dnat = f.from != f.src, f.to != f.dst
	if words[len(words)-1] == "ipvs" {
		f.dnat = false
	}
	return f
}

func TestStale(t *testing.T) {
	const (
		dns    = "dnat: udp destination 12.0.0.1:53 to 192.168.160.100:5353"
		dns2   = "dnat: udp destination 12.0.0.1:53 to 192.168.160.101:5353"
		tcp    = "dnat: tcp destination 12.0.0.1:53 to 192.168.160.100:5353"
		byIn   = "dnat: udp in eth1 destination 12.0.0.1:53 to 192.168.160.102:53"
		all    = "dnat: destination 12.0.0.2 to 192.168.160.100"
		snat   = "snat: source 192.168.160.0/24 out eth1 to 12.0.0.1"
		snat2  = "snat: source 192.168.160.0/24 out eth1 to 12.0.0.2"
		masq   = "masquerade: source 192.168.160.0/24 out eth1"
		masqE2 = "masquerade: source 192.168.160.0/24 out eth2"
		redir  = "redirect: ipv4 udp in eth0 destination *:53 to *:1053"

		plain   = "udp 12.0.0.12:5000 > 12.0.0.1:53"
		toDNS   = "udp 12.0.0.12:5000 > 12.0.0.1:53 as 12.0.0.12:5000 > 192.168.160.100:5353"
		toDNS2  = "udp 12.0.0.12:5000 > 12.0.0.1:53 as 12.0.0.12:5000 > 192.168.160.101:5353"
		toIn    = "udp 12.0.0.12:5000 > 12.0.0.1:53 as 12.0.0.12:5000 > 192.168.160.102:53"
		out     = "udp 192.168.160.5:5000 > 9.9.9.9:53"
		outNAT  = "udp 192.168.160.5:5000 > 9.9.9.9:53 as 12.0.0.1:5000 > 9.9.9.9:53"
		outNAT2 = "udp 192.168.160.5:5000 > 9.9.9.9:53 as 12.0.0.2:5000 > 9.9.9.9:53"
		ipvs    = "udp 12.0.0.12:5000 > 12.0.0.1:53 as 12.0.0.12:5000 > 192.168.160.100:5353 ipvs"
	)
	for _, tt := range []struct {
		name       string
		have, want string // rules, with ; between them
		stale      string // flows, with | between them
		kept       string
	}{
		{"another server", dns, dns2, toDNS, toDNS2 + "|udp 12.0.0.12:1 > 12.0.0.1:54"},
		{"no server", dns, "", toDNS, plain},
		{"a server where there was none", "", dns, plain, toDNS},
		{"another port of the server", dns, "dnat: udp destination 12.0.0.1:53 to 192.168.160.100:53", toDNS, ""},
		{"another name", dns, strings.Replace(dns, "dnat:", "dnat x:", 1), "", toDNS},
		{"another rule", dns, dns + ";dnat: udp destination 12.0.0.1:54 to 192.168.160.101:53", "udp 12.0.0.12:1 > 12.0.0.1:54", toDNS + "|" + outNAT},
		{"TCP goes on", all, "", "udp 1.1.1.1:1 > 12.0.0.2:2 as 1.1.1.1:1 > 192.168.160.100:2", "tcp 1.1.1.1:1 > 12.0.0.2:2 as 1.1.1.1:1 > 192.168.160.100:2"},
		{"no flow of TCP", tcp, "", "", toDNS},
		{"any protocol", all, "", "icmp 1.1.1.1 > 12.0.0.2 as 1.1.1.1 > 192.168.160.100|gre 1.1.1.1 > 12.0.0.2 as 1.1.1.1 > 192.168.160.100", "sctp 1.1.1.1:1 > 12.0.0.2:2 as 1.1.1.1:1 > 192.168.160.100:2"},
		{
			"a shifted range", "dnat: udp destination 12.0.0.1:60-69 to 192.168.160.100:160-169", "dnat: udp destination 12.0.0.1:60-69 to 192.168.160.100:161-170",
			"udp 1.1.1.1:1 > 12.0.0.1:61 as 1.1.1.1:1 > 192.168.160.100:161", "udp 1.1.1.1:1 > 12.0.0.1:61 as 1.1.1.1:1 > 192.168.160.100:162",
		},
		{"IPv6", "", "dnat: udp destination [2001:db8::1]:53 to fd00::1", "udp [2001:db8::12]:1 > [2001:db8::1]:53", "udp [2001:db8::12]:1 > [2001:db8::1]:53 as [2001:db8::12]:1 > [fd00::1]:53|" + plain},
		{"families are apart", "", "masquerade: ipv6 out eth1", "udp [2001:db8::12]:1 > [2001:db8::1]:53", out},

		{"a rule of an interface is new", "", byIn, plain, toIn},
		{"a rule of an interface is gone", byIn, "", toIn, plain},
		{"behind a rule that decides", dns, dns + ";" + byIn, "", toDNS},
		{"an exact rule before", byIn, byIn + ";" + dns, toIn, toDNS},
		{"an exact rule is no more before", byIn + ";" + dns, byIn, toDNS, toIn},
		{"from certain clients", dns, dns + ";dnat: udp source 12.0.0.0/28 destination 12.0.0.1:53 to 10.0.0.1", "", toDNS},
		{
			"order", "dnat a: udp source 12.0.0.0/28 destination 12.0.0.1:53 to 10.0.0.1;dnat b: udp source 12.0.0.0/24 destination 12.0.0.1:53 to 10.0.0.2",
			"dnat b: udp source 12.0.0.0/24 destination 12.0.0.1:53 to 10.0.0.2;dnat a: udp source 12.0.0.0/28 destination 12.0.0.1:53 to 10.0.0.1",
			"udp 12.0.0.12:1 > 12.0.0.1:53 as 12.0.0.12:1 > 10.0.0.1:53", "udp 12.0.0.99:1 > 12.0.0.1:53 as 12.0.0.99:1 > 10.0.0.2:53",
		},

		{"redirect is new", "", redir, out, "udp 192.168.160.5:1 > 9.9.9.9:53 as 192.168.160.5:1 > 192.168.160.1:1053"},
		{"redirect is gone", redir, "", "udp 192.168.160.5:1 > 9.9.9.9:53 as 192.168.160.5:1 > 192.168.160.1:1053", out},
		{"redirect to another port", redir, strings.ReplaceAll(redir, "1053", "1054"), "udp 192.168.160.5:1 > 9.9.9.9:53 as 192.168.160.5:1 > 192.168.160.1:1053", ""},
		{"redirect instead of a server", "dnat: ipv4 udp in eth0 destination *:53 to 192.168.160.9:1053", redir, "udp 192.168.160.5:1 > 9.9.9.9:53 as 192.168.160.5:1 > 192.168.160.9:1053", ""},

		{"another source", snat, snat2, outNAT, outNAT2},
		{"a source", "", snat, out, outNAT + "|" + plain},
		{"no source", snat, "", outNAT, out},
		{"masquerade for snat", snat, masq, outNAT, ""},
		{"masquerade is new", "", masq, out, outNAT},
		{"masquerade is gone", masq, "", outNAT, out},
		{"masquerade by another name", masq, strings.Replace(masq, ":", " x:", 1), "", outNAT},
		{"random ports do not concern what is there", masq, masq + " random", "", outNAT},
		{"other ports", "snat: udp source 192.168.160.0/24 to 12.0.0.1:5000-5009", "snat: udp source 192.168.160.0/24 to 12.0.0.1:6000-6009", outNAT, ""},
		{"the interface does not tell", masq, masqE2 + ";" + masq, "", outNAT},
		{"snat before", masq, snat2 + ";" + masq, outNAT, outNAT2},
		{"two ways out, both anew", "", snat + ";" + snat2, out, outNAT + "|" + outNAT2},

		{
			"hairpin", dns, dns + " hairpin 192.168.160.0/24",
			"udp 192.168.160.5:1 > 12.0.0.1:53 as 192.168.160.5:1 > 192.168.160.100:5353",
			"udp 192.168.160.5:1 > 12.0.0.1:53 as 192.168.160.1:1 > 192.168.160.100:5353|" + toDNS,
		},
		{"no hairpin", dns + " hairpin 192.168.160.0/24", dns, "udp 192.168.160.5:1 > 12.0.0.1:53 as 192.168.160.1:1 > 192.168.160.100:5353", toDNS},
		{
			"the hairpin of another rule", dns + " hairpin 192.168.160.0/24", dns + " hairpin 192.168.160.0/24;dnat: udp destination 12.0.0.1:54 to 192.168.160.100:5353 hairpin 192.168.160.0/24",
			"", "udp 192.168.160.5:1 > 12.0.0.1:53 as 192.168.160.1:1 > 192.168.160.100:5353",
		},

		{"IPVS goes on when a rule goes", dns2, "", "", ipvs},
		{"IPVS gives way to a rule", "", dns2, ipvs, ""},
		{"full NAT of IPVS", "", "snat: udp original 12.0.0.1:53 to 192.168.160.1", ipvs, strings.Replace(ipvs, "as 12.0.0.12:5000", "as 192.168.160.1:5000", 1)},
		{"DNAT to IPVS", "dnat: udp destination 12.0.0.9:53 to 12.0.0.1:53", "", "udp 12.0.0.12:1 > 12.0.0.9:53 as 12.0.0.12:1 > 192.168.160.100:5353", ipvs},
	} {
		have, want := ruleList(t, tt.have), ruleList(t, tt.want)
		changes, err := Plan(have, want)
		if err != nil {
			t.Fatal(err)
		}
		s := newStale(changes, func() []Rule { return normal(want) }, false)
		for texts, is := range map[string]bool{tt.stale: true, tt.kept: false} {
			for text := range strings.SplitSeq(texts, "|") {
				if text == "" {
					continue
				}
				f := flowOf(t, text)
				if got := s != nil && s.is(&f); got != is {
					t.Errorf("%s: stale is %v of %s", tt.name, got, text)
				}
			}
		}
	}
}

func ruleList(t testing.TB, text string) []Rule {
	t.Helper()
	if text == "" {
		return nil
	}
	return rules(t, strings.Split(text, ";")...)
}

// What was there before the Table is judged by the rules alone.
func TestStaleFromBefore(t *testing.T) {
	want := normal(rules(t,
		"dnat: udp destination 12.0.0.1:53 to 192.168.160.100",
		"dnat: udp in eth1 destination 12.0.0.1:54 to 192.168.160.100",
		"masquerade: source 192.168.160.0/24 out eth1",
	))
	s := newStale(nil, func() []Rule { return want }, true)
	for text, is := range map[string]bool{
		"udp 12.0.0.12:1 > 12.0.0.1:53":                                     true,
		"udp 12.0.0.12:1 > 12.0.0.1:53 as 12.0.0.12:1 > 192.168.160.9:53":   true,
		"udp 12.0.0.12:1 > 12.0.0.1:53 as 12.0.0.12:1 > 192.168.160.100:53": false,
		"tcp 12.0.0.12:1 > 12.0.0.1:53":                                     false,
		"udp 12.0.0.12:1 > 12.0.0.1:54":                                     true,
		"udp 192.168.160.5:1 > 9.9.9.9:53":                                  true,
		"udp 192.168.160.5:1 > 9.9.9.9:53 as 12.0.0.1:1 > 9.9.9.9:53":       false,
		"udp 10.0.0.1:1 > 9.9.9.9:53 as 12.0.0.1:1 > 9.9.9.9:53":            false,
	} {
		f := flowOf(t, text)
		if s.is(&f) != is {
			t.Errorf("stale is %v of %s", !is, text)
		}
	}
}

// What is asked of conntrack is no more than is needed.
func TestWhatIsAskedOfConntrack(t *testing.T) {
	for _, tt := range []struct {
		rules    string
		ask      bool
		v4, v6   bool
		protocol Protocol
	}{
		{rules: ""},
		{rules: "dnat: tcp destination 12.0.0.1:53 to 10.0.0.1;snat: sctp source 10.0.0.0/8 to 12.0.0.1"},
		{rules: "dnat: tcp destination 12.0.0.1:53 to 10.0.0.1;dnat: udp destination 12.0.0.1:53 to 10.0.0.1", ask: true, v4: true, protocol: UDP},
		{rules: "dnat: udp destination 12.0.0.1:53 to 10.0.0.1;masquerade: ipv6 udp out eth1", ask: true, v4: true, v6: true, protocol: UDP},
		{rules: "masquerade: ipv6 icmpv6 out eth1", ask: true, v6: true, protocol: 58},
		{rules: "dnat: udp destination 12.0.0.1:53 to 10.0.0.1;masquerade: ipv4 out eth1", ask: true, v4: true},
		{rules: "masquerade: ipv4 out eth1;dnat: udp destination 12.0.0.1:53 to 10.0.0.1", ask: true, v4: true},
	} {
		list := ruleList(t, tt.rules)
		changes, err := Plan(nil, list)
		if err != nil {
			t.Fatal(err)
		}
		for _, all := range []bool{false, true} {
			given := changes
			if all {
				given = nil
			}
			s := newStale(given, func() []Rule { return list }, all)
			if (s != nil) != tt.ask {
				t.Errorf("%s: asked is %v", tt.rules, s != nil)
			} else if s != nil && (s.v4 != tt.v4 || s.v6 != tt.v6 || s.protocol != tt.protocol) {
				t.Errorf("%s: v4 %v, v6 %v, protocol %v", tt.rules, s.v4, s.v6, s.protocol)
			}
		}
	}
}

// Many changes cost a flow no more than few.
func BenchmarkStale(b *testing.B) {
	var changes []Change
	for i := range 10_000 {
		r := Rule{Action: DNAT, Protocol: UDP, Destination: netip.MustParsePrefix("12.0.0.1/32"), DestinationPort: Port(uint16(i + 1)), To: netip.MustParseAddr("10.0.0.1")}
		changes = append(changes, Change{AddRule, r})
	}
	s := newStale(changes, func() []Rule { return nil }, false)
	f := flowOf(b, "udp 12.0.0.12:5000 > 12.0.0.2:53")
	for b.Loop() {
		s.is(&f)
	}
}
