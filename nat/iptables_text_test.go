package nat

import "testing"

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
