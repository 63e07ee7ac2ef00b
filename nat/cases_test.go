package nat

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// packetCase is rules, and what they do to packets, in both families. A name in braces is an
// address or network of places, with ports as {web:80}. What becomes of a packet
// is written "tcp client > pub:80 = client > web:8080 by eth0": a source port is what it
// was unless one is written, and where no place is written it goes on as it was
// asked for.
type packetCase struct {
	name    string
	rules   []string
	packets []string
}

// places are the machines and networks around the gateway of the tests.
var places = map[string][2]string{
	"gw":       {"192.168.160.1", "fd00::1"}, // eth0
	"inside":   {"192.168.160.0/24", "fd00::/64"},
	"lower":    {"192.168.160.0/25", "fd00::/119"},
	"pc":       {"192.168.160.7", "fd00::7"},
	"web":      {"192.168.160.100", "fd00::100"},
	"db":       {"192.168.160.101", "fd00::101"},
	"high":     {"192.168.160.200", "fd00::200"}, // not in lower
	"gwguest":  {"172.16.0.1", "fd01::1"},        // eth2
	"guests":   {"172.16.0.0/24", "fd01::/64"},
	"guest":    {"172.16.0.5", "fd01::5"},
	"pub":      {"12.0.0.1", "2001:db8::1"}, // eth1
	"vip":      {"12.0.0.2", "2001:db8::2"},
	"outside":  {"12.0.0.0/24", "2001:db8::/64"},
	"client":   {"12.0.0.12", "2001:db8::12"},
	"other":    {"12.0.0.13", "2001:db8::13"},
	"far":      {"203.0.113.9", "2001:db8:f::9"}, // by eth1
	"lost":     {"198.51.100.1", "2001:db8:dead::1"},
	"all":      {"0.0.0.0/0", "::/0"},
	"loopback": {"127.0.0.0/8", "::1"},
}

var inBraces = regexp.MustCompile(`\{([a-z]+)(?::([0-9-]+))?\}`)

// expand writes places in one family.
func expand(text string, v6 bool) string {
	which := map[bool]int{true: 1}[v6]
	return inBraces.ReplaceAllStringFunc(text, func(s string) string {
		m := inBraces.FindStringSubmatch(s)
		switch m[1] {
		case "icmp":
			return [2]string{"icmp", "icmpv6"}[which]
		case "family":
			return [2]string{"ipv4", "ipv6"}[which]
		}
		place := places[m[1]][which]
		switch {
		case m[2] == "":
			return place
		case v6:
			return "[" + place + "]:" + m[2]
		}
		return place + ":" + m[2]
	})
}

// ruleset is the rules of a case in one family.
func (c packetCase) ruleset(t testing.TB, v6 bool) []Rule {
	t.Helper()
	var texts []string
	for _, text := range c.rules {
		texts = append(texts, expand(text, v6))
	}
	return rules(t, texts...)
}

// expected is a packet and what is to become of it.
type expected struct {
	packet
	want arrival
}

// parseExpected reads a line of packets. A source port that is not written is
// any of highPorts.
func parseExpected(text string, v6 bool) (e expected, err error) {
	f := strings.Fields(text)
	if len(f) != 6 && len(f) != 10 || f[2] != ">" || f[4] != "=" {
		return e, fmt.Errorf("%q: want PROTOCOL SOURCE > DESTINATION = nowhere, or SOURCE > DESTINATION by PLACE", text)
	}
	e.protocol = map[string]Protocol{"tcp": TCP, "udp": UDP, "sctp": SCTP, "gre": gre, "ping": icmp4}[f[0]]
	if e.protocol == icmp4 && v6 {
		e.protocol = icmp6
	}
	var ports Ports
	if e.src, ports, err = parsePlace(f[1], v6); err != nil {
		return e, err
	}
	if ports == (Ports{}) && e.protocol != gre {
		e.src = withPort(e.src, highPorts.First)
	}
	e.in = gateway.route(e.src.Addr())
	if e.dst, _, err = parsePlace(f[3], v6); err != nil || f[5] == "nowhere" {
		return e, err
	}
	e.want.at = f[9]
	if e.want.dst, _, err = parsePlace(f[7], v6); err != nil {
		return e, err
	}
	e.want.src, ports, err = parsePlace(f[5], v6)
	if ports.Len() != 1 {
		e.want.src, e.want.ports = withPort(e.want.src, e.src.Port()), ports
	}
	return e, err
}

// parsePlace reads a place, with ports if any; the address has the first of them.
func parsePlace(text string, v6 bool) (a netip.AddrPort, ports Ports, err error) {
	name, port, found := strings.Cut(text, ":")
	addr, err := netip.ParseAddr(places[name][map[bool]int{true: 1}[v6]])
	if err != nil {
		return a, ports, fmt.Errorf("%q: %w", text, err)
	}
	if found {
		first, last, isRange := strings.Cut(port, "-")
		if !isRange {
			last = first
		}
		for _, end := range []struct {
			text string
			to   *uint16
		}{{first, &ports.First}, {last, &ports.Last}} {
			n, err := strconv.ParseUint(end.text, 10, 16)
			if err != nil {
				return a, ports, err
			}
			*end.to = uint16(n)
		}
	}
	return netip.AddrPortFrom(addr, ports.First), ports, nil
}

// The cases are one thing said twice: what the model says of them, a person has
// written too. On the backends it is the packets that say it.
func TestModelSaysWhatPeopleExpect(t *testing.T) {
	for _, c := range packetCases {
		for _, v6 := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				list := c.ruleset(t, v6)
				if _, err := Plan(nil, list); err != nil {
					t.Fatal(err)
				}
				for _, text := range c.packets {
					e, err := parseExpected(text, v6)
					if err != nil {
						t.Fatal(err)
					}
					if got, _ := gateway.deliver(list, e.packet); got != e.want {
						t.Errorf("%s\ngot  %s\nwant %s", text, got, e.want)
					}
				}
			})
		}
	}
}
