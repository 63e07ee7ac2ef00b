package nat

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
)

func TestRulesReadAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{
		"dnat web: tcp in eth1 destination 12.0.0.1:3344 to 192.168.160.100:3344",
		"snat: source 192.168.160.0/24 out eth1 to 12.0.0.1",
		"masquerade: ipv4 out eth1 random",
		"masquerade out: ipv6 out eth1",
		"redirect proxy: ipv4 tcp destination *:80 to *:3128",
		"dnat a:b/c-d: udp destination [2001:db8::1]:53 to [fd00::5]:5353",
		"dnat: tcp source 10.0.0.0/8:1024-65535 destination 12.0.0.1:8000-8099 to 10.0.0.7:9000-9099 hairpin 10.0.0.0/24",
		"snat: tcp source [fd00::/64]:1-1024 original [2001:db8::/32]:443 to [2001:db8::9]:1024-65535 random",
		"dnat: gre destination 12.0.0.1 to 10.0.0.1",
		"dnat: 200 destination 12.0.0.1 to 10.0.0.1",
	} {
		r, err := ParseRule(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := r.String(); got != text {
			t.Errorf("read %q, wrote %q", text, got)
		}
	}
}

func TestBadRules(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "begins with its action",
		"dnat":                       "begins with its action",
		"nat: to 1.2.3.4":            "unknown action",
		"dnat a b: to 1.2.3.4":       "not an action",
		"dnat: tcp tcp to 1.2.3.4":   "comes twice",
		"dnat: to":                   "something is missing",
		"dnat: via 1.2.3.4":          "no word of a rule",
		"dnat: to 1.2.3":             "to 1.2.3",
		"dnat: to 1.2.3.0/24":        "one address",
		"dnat: tcp to 1.2.3.4:":      "comes a port",
		"dnat: tcp to 1.2.3.4:70000": "no port",
		"dnat: tcp to [::1":          "[address]:port",
		"dnat: to 1.2.3.4:80":        "without a protocol that has ports",
		"dnat: icmp to 1.2.3.4:80":   "without a protocol that has ports",
		"dnat: tcp destination 1.2.3.4:90-80 to 1.2.3.5":                   "the lower one first",
		"dnat: tcp to 1.2.3.4:0-5":                                         "the lower one first",
		"dnat: tcp destination 10.0.0.5/24:80 to 1.2.3.5":                  "bits behind its length",
		"dnat: destination ::ffff:1.2.3.4 to 1.2.3.5":                      "plain IPv4",
		"dnat: destination fe80::1%eth0 to fd00::1":                        "plain IPv4",
		"dnat: destination 1.2.3.4 to fd00::1":                             "both families",
		"dnat: ipv6 to 1.2.3.4":                                            "both families",
		"masquerade: out eth0":                                             "no address tells the family",
		"dnat: out eth0 to 1.2.3.4":                                        "use In",
		"dnat: original 1.2.3.4 to 1.2.3.5":                                "use Destination",
		"snat: in eth0 to 1.2.3.4":                                         "use Out",
		"dnat: random to 1.2.3.4":                                          "drop Random",
		"dnat: destination 1.2.3.4":                                        "set To",
		"snat: ipv4 source 1.2.3.4":                                        "set To",
		"dnat: to 224.0.0.1":                                               "set To",
		"masquerade: to 1.2.3.4":                                           "leave To out",
		"redirect: ipv4 tcp destination *:80":                              "set ToPort",
		"dnat: tcp destination 1.2.3.4:80-89 to 1.2.3.5:80-81":             "can not be shifted",
		"dnat: tcp destination 1.2.3.4:80 to 1.2.3.4:80":                   "changes nothing",
		"dnat: destination 1.2.3.4 to 1.2.3.4":                             "changes nothing",
		"snat: source 10.0.0.0/8 to 1.2.3.4 hairpin 10.0.0.0/8":            "for dnat",
		"dnat: in eth1 destination 1.2.3.4 to 10.0.0.1 hairpin 10.0.0.0/8": "leave In out",
		"masquerade: ipv4 out interface-with-a-name":                       "no name of an interface",
		"dnat n#me: to 1.2.3.4":                                            "the name has",
		"dnat " + strings.Repeat("x", 65) + ": to 1.2.3.4":                 "at most 64",
	} {
		_, err := ParseRule(text)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestNoActionIsInvalid(t *testing.T) {
	err := Rule{To: netip.MustParseAddr("1.2.3.4")}.Validate()
	if !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add("dnat: tcp destination 12.0.0.1:80-89 to [fd00::1]:90")
	f.Add("snat x: source 10.0.0.0/8 out eth1 to 12.0.0.1")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		again, err := ParseRule(r.String())
		if err != nil || again != r {
			t.Errorf("%q reads as %+v, its text as %+v, %v", text, r, again, err)
		}
	})
}
