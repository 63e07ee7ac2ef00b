package nat

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ParseRule reads a rule as Rule.String writes it. The words after the colon may
// come in any order, each once:
//
//	dnat|redirect|snat|masquerade [NAME]: [ipv4|ipv6] [tcp|udp|sctp|NUMBER]
//		[in INTERFACE] [out INTERFACE]
//		[source END] [destination END] [original END] [to END] [random] [hairpin NETWORK]
//
// An END is an address or a network, with ports if any: 10.0.0.0/8,
// 12.0.0.1:80-89, [2001:db8::1]:80, *:80. The rule that it returns is valid. An
// error matches fs.ErrInvalid.
func ParseRule(text string) (Rule, error) {
	r, err := parseRule(text)
	if err == nil {
		err = r.validate()
	}
	if err != nil {
		return Rule{}, &OpError{Op: "parse", Object: strconv.Quote(text), Err: err}
	}
	return r, nil
}

func parseRule(text string) (r Rule, err error) {
	head, rest, found := strings.Cut(text, ":")
	for found && rest != "" && rest[0] != ' ' { // a colon of the name
		var more string
		more, rest, found = strings.Cut(rest, ":")
		head += ":" + more
	}
	if !found {
		return r, invalid("a rule begins with its action and a colon, as in \"masquerade: out eth1\"")
	}
	words := strings.Fields(head)
	if len(words) == 0 || len(words) > 2 {
		return r, invalidf("%q is not an action and perhaps a name", head)
	}
	action := slices.Index(actionNames, strings.ToLower(words[0]))
	if action <= 0 {
		return r, invalidf("unknown action %q: use dnat, redirect, snat or masquerade", words[0])
	}
	r.Action = Action(action)
	if len(words) == 2 {
		r.Name = words[1]
	}
	err = r.parseWords(strings.Fields(rest))
	return r, err
}

func (r *Rule) parseWords(words []string) error {
	seen := map[string]bool{}
	for len(words) > 0 {
		key := words[0]
		if seen[key] {
			return invalidf("%q comes twice", key)
		}
		seen[key], words = true, words[1:]
		if r.parseFlag(key) {
			continue
		}
		if len(words) == 0 {
			return invalidf("after %q something is missing, or it is no word of a rule", key)
		}
		if err := r.parsePair(key, words[0]); err != nil {
			return err
		}
		words = words[1:]
	}
	return nil
}

// parseFlag takes a word that stands alone.
func (r *Rule) parseFlag(key string) bool {
	switch key {
	case "ipv4":
		r.Family = IPv4
	case "ipv6":
		r.Family = IPv6
	case "random":
		r.Random = true
	default:
		for p, name := range protocolNames {
			if name == key {
				r.Protocol = p
				return true
			}
		}
		n, err := strconv.ParseUint(key, 10, 8)
		if err != nil || n == 0 {
			return false
		}
		r.Protocol = Protocol(n)
	}
	return true
}

// parsePair takes a word and what follows it.
func (r *Rule) parsePair(key, value string) (err error) {
	switch key {
	case "in":
		r.In = value
	case "out":
		r.Out = value
	case "source":
		r.Source, r.SourcePort, err = parseEnd(value)
	case "destination":
		r.Destination, r.DestinationPort, err = parseEnd(value)
	case "original":
		r.Original, r.OriginalPort, err = parseEnd(value)
	case "to":
		var p netip.Prefix
		if p, r.ToPort, err = parseEnd(value); err == nil && p.IsValid() && !p.IsSingleIP() {
			return invalidf("to %s: it is one address", value)
		}
		r.To = p.Addr()
	case "hairpin":
		var ports Ports
		if r.Hairpin, ports, err = parseEnd(value); err == nil && ports != (Ports{}) {
			return invalidf("hairpin %s: it is a network, without ports", value)
		}
	default:
		return invalidf("%q is no word of a rule", key)
	}
	if err != nil {
		return invalidf("%s %s: %v", key, value, err)
	}
	return nil
}

// parseEnd reads an address or network with ports, as end writes it.
func parseEnd(text string) (p netip.Prefix, ports Ports, err error) {
	host, port := text, ""
	switch i := strings.LastIndexByte(text, ':'); {
	case strings.HasPrefix(text, "["):
		var found bool
		if host, port, found = strings.Cut(text[1:], "]"); !found || port != "" && port[0] != ':' {
			return p, ports, invalid("write [address]:port")
		}
		port = strings.TrimPrefix(port, ":")
	case i >= 0 && strings.IndexByte(text, ':') == i: // not an IPv6 address
		host, port = text[:i], text[i+1:]
		if port == "" {
			return p, ports, invalid("after the colon comes a port")
		}
	}
	if port != "" {
		if ports, err = parsePorts(port); err != nil {
			return p, ports, err
		}
	}
	switch {
	case host == "*":
		return p, ports, nil
	case strings.Contains(host, "/"):
		p, err = netip.ParsePrefix(host)
		return p, ports, err
	}
	a, err := netip.ParseAddr(host)
	if err == nil && a.Zone() != "" {
		err = invalid("use a plain IPv4 or IPv6 address")
	}
	if err != nil {
		return p, ports, err
	}
	return netip.PrefixFrom(a, a.BitLen()), ports, nil
}

func parsePorts(text string) (Ports, error) {
	first, last, found := strings.Cut(text, "-")
	if !found {
		last = first
	}
	a, err := strconv.ParseUint(first, 10, 16)
	if err == nil {
		var b uint64
		if b, err = strconv.ParseUint(last, 10, 16); err == nil {
			return Ports{uint16(a), uint16(b)}, nil
		}
	}
	return Ports{}, invalidf("%q is no port or range of ports", text)
}

// MarshalText is String.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRule.
func (r *Rule) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRule(string(b))
	return err
}
