package nat

import (
	"slices"
	"strings"
	"testing"
)

// ofEveryKind is a rule of each kind.
var ofEveryKind = []string{
	"dnat web: tcp destination 12.0.0.1:3344 to 192.168.160.100:8080 hairpin 192.168.160.0/24",
	"dnat shift: tcp destination 12.0.0.1:70-79 to 192.168.160.100:8071-8080",
	"dnat web6: tcp destination [2001:db8::1]:3344 to [fd00::1]:8080 hairpin fd00::/64",
	"dnat: udp destination [2001:db8::1]:70-79 to [fd00::1]:170-179",
	"dnat in: tcp in eth1 destination 12.0.0.1:170-179 to 192.168.160.100:8071-8080",
	"dnat: tcp in eth1 source 10.0.0.0/8:1024-65535 destination 12.0.0.1:200-210 to 192.168.160.100:8080",
	"redirect: ipv4 tcp in eth0 destination *:81 to *:82",
	"redirect range: ipv4 udp in eth0 destination *:91-95 to *:91-95",
	"redirect ports: ipv4 tcp in eth0 destination *:101-103 to *:201-203",
	"dnat any: destination 12.0.0.2 to 192.168.160.100",
	"dnat: gre destination 12.0.0.3 to 192.168.160.100",
	"dnat: 200 destination 12.0.0.3 to 192.168.160.100",
	"dnat all: tcp destination 0.0.0.0/0:9 to 192.168.160.100",
	"dnat ping: icmpv6 destination 2001:db8::2 to fd00::2",
	"snat: tcp source 192.168.160.0/25 original 12.0.0.0/24:88 out eth1 to 12.0.0.1:2000-3000 random",
	"snat a.b:c/d_e-f: sctp source 0.0.0.0/0 original 0.0.0.0/0:88 out eth1 to 12.0.0.1:2000",
	"snat: source 192.168.160.0/24 out eth1 to 12.0.0.1",
	"masquerade hairpin: tcp source fd00::/65 out eth1 to *:2000-3000",
	"masquerade: source fd00::/64 out eth1 random",
	"snat: tcp original [2001:db8::1]:80-81 to [fd00::9]:1-65535",
}

// others is a table nat as docker, firewalld, kube-proxy and a person leave one.
const others = `*nat
:DOCKER - [0:0]
:PRE_public - [0:0]
:PRE_public_allow - [0:0]
:PREROUTING_ZONES - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A PREROUTING -j PREROUTING_ZONES
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 10.9.0.0/16 -o eth7 -m comment --comment "by \"hand\" \\ LVSKIT-PRE" -j SNAT --to-source 12.0.0.77
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80
-A PREROUTING_ZONES -i eth1 -g PRE_public
-A PRE_public -j PRE_public_allow
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
COMMIT
`

func TestIPTablesLinesReadAsTheyAreWritten(t *testing.T) {
	for _, r := range normal(rules(t, ofEveryKind...)) {
		checkXTLines(t, r)
	}
}

// checkXTLines wants of each line of a rule that it reads as the rule.
func checkXTLines(t *testing.T, r Rule) {
	t.Helper()
	p := &xtParser{v6: r.family() == IPv6}
	for part := range r.xtParts() {
		text := r.xtText(part)
		l, err := p.parse(xtWords(text))
		if err != nil || l.rule != r || l.text != text {
			t.Errorf("%s\nis    %s\nreads %s\nwith  %s %v", r, text, l.rule, l.text, err)
		}
	}
}

func FuzzIPTablesLines(f *testing.F) {
	for _, text := range ofEveryKind {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err == nil && r.xtUnsupported() == "" {
			checkXTLines(t, normal([]Rule{r})[0])
		}
	})
}

// Whatever iptables-save says, what is written because of it is read as it was meant.
func FuzzIPTablesSave(f *testing.F) {
	n := newXTNames("lvskit")
	want := normal(rules(f, ofEveryKind[3], ofEveryKind[5], ofEveryKind[8], ofEveryKind[14]))
	want = slices.DeleteFunc(want, func(r Rule) bool { return r.family() == IPv6 })
	f.Add(n.restore(&xtFamily{}, want, nil, true))
	f.Add(strings.ReplaceAll(n.restore(&xtFamily{}, want, nil, true), "-I PREROUTING 1", "[3:4] -A PREROUTING"))
	f.Add(others + ":LVSKIT-PRE - [0:0]\n[1:2] -A PREROUTING -m comment --comment \"kept by lvskit\" -g LVSKIT-PRE\n[1:2] -A DOCKER -j LVSKIT-PUB\n")
	f.Add(":LVSKIT-PUB - [0:0]\n[1:2] -A LVSKIT-PUB -d 1.2.3.4 -p tcp --dport 5:6 -j DNAT --to-destination 9.8.7.6:7-8/5\n[1:2] -A LVSKIT-PUB \"\\\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := &xtParser{}
		have := n.readSave(text, p)
		for _, s := range have.rules {
			checkXTLines(t, s.Rule)
		}
		n.remove(&have)
		n.restore(&have, want, nil, true)
		if lines := n.layout(want, &have); have.sound {
			for chain := range lines {
				if input := n.fill(&have, &lines); strings.Count(input, "] -A "+n[chain]+" ") != len(lines[chain]) {
					t.Errorf("of %d lines: %s", len(lines[chain]), input)
				}
			}
		}
	})
}

func TestIPTablesCannotHaveAllRules(t *testing.T) {
	for text, want := range map[string]string{
		"redirect: ipv4 tcp destination *:1-2000 to *:3001-5000": "at most 1024",
		"redirect: ipv4 tcp in eth'0 destination *:1 to *:2":     "interface",
		"masquerade: ipv4 out !eth0":                             "interface",
		"masquerade: ipv4 out -eth0":                             "interface",
		"masquerade: ipv4 out äth0":                              "interface",
		`masquerade: ipv4 out eth\0`:                             "interface",
	} {
		if got := rules(t, text)[0].xtUnsupported(); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestIPTablesReadsOnlyWhatItWrites(t *testing.T) {
	for _, line := range []string{
		"",
		"-j",
		"-j ACCEPT",
		"-s 10.0.0.0/8 -j MASQUERADE -j MASQUERADE",
		"! -s 10.0.0.0/8 -j MASQUERADE",
		"-s 10.0.0.0/8 -m mark --mark 1 -j MASQUERADE",
		"-s 10.0.0.0/8 -j MASQUERADE --random",
		"-s fd00::/8 -j MASQUERADE",
		"-s 10.0.0.0/255.0.255.0 -j MASQUERADE",
		"-d 12.0.0.1/32 -p tcp -m tcp --dport 70:79 -j DNAT --to-destination 10.0.0.1:170-179",
		"-d 12.0.0.1/32 -p tcp -m tcp --dport 70:79 -j DNAT --to-destination 10.0.0.1:170-179/71",
		"-d 12.0.0.1/32 -p tcp -m tcp --dport 70:79 -j DNAT --to-destination 10.0.0.1-10.0.0.9",
		"-d 12.0.0.1/32 -p tcp -m tcp --dport 70:79 -j DNAT --to-destination 10.0.0.1 --persistent",
		"-p tcp -m tcp --dport 80 -j REDIRECT",
		"-p tcp -m tcp --dport 80:81 -j REDIRECT --to-ports 80-81",
		`-p tcp -m tcp --dport 80 -m comment --comment "n shift 80-81>180-181" -j REDIRECT --to-ports 181`,
		`-p tcp -m tcp --dport 80 -m comment --comment "n shift 80-81>180-181" -j DNAT --to-destination 10.0.0.1:180`,
		`-p tcp -m tcp --dport 80 -m comment --comment "n shift 80-80>180-180" -j REDIRECT --to-ports 180`,
		`-s 10.0.0.0/8 -m comment --comment "two words" -j MASQUERADE`,
		`-s 10.0.0.0/8 -m comment --comment "source 0.0.0.0/0" -j MASQUERADE`,
		`-s 10.0.0.0/8 -m comment --comment "n#me" -j MASQUERADE`,
		"-p nobody -j MASQUERADE",
		"-s 10.0.0.0/8 -m conntrack --ctstate DNAT -j MASQUERADE",
		"-s 10.0.0.0/8 -d 1.2.3.4 -m conntrack --ctstate DNAT -j ACCEPT",
	} {
		if l, err := (&xtParser{}).parse(xtWords(line)); err == nil {
			t.Errorf("%s reads as %s", line, l.rule)
		}
	}
}

func TestIPTablesReadsNamesOfProtocols(t *testing.T) {
	p := &xtParser{protocols: parseProtocols("# all of them\nip 0 IP # this one\nospf\t89\tOSPFIGP\nnone\nbig 300\n")}
	for name, want := range map[string]Protocol{"89": 89, "ospf": 89, "gre": 47, "icmp": 1, "tcp": TCP} {
		l, err := p.parse([]string{"-p", name, "-j", "MASQUERADE"})
		if err != nil || l.rule.Protocol != want {
			t.Errorf("%s: %v %v", name, l.rule, err)
		}
	}
}
