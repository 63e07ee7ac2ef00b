package nat

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// xtParser reads the lines of iptables-save.
type xtParser struct {
	v6 bool
	// protocols are the names by which iptables writes protocols, those of
	// /etc/protocols.
	protocols map[string]Protocol
}

// xtProtocols are the names that iptables has itself (libxtables/xtables.c,
// xtables_chain_protos).
var xtProtocols = map[string]Protocol{
	"tcp": TCP, "udp": UDP, "sctp": SCTP, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58, "esp": 50, "ah": 51, "gre": 47,
	"udplite": 136, "mh": 135, "ipv6-mh": 135, "dccp": 33,
}

// parseProtocols reads a file like /etc/protocols.
func parseProtocols(text string) map[string]Protocol {
	names := map[string]Protocol{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if n, err := strconv.ParseUint(words[1], 10, 8); err == nil {
			names[words[0]] = Protocol(n)
		}
	}
	return names
}

// xtWords splits a line as iptables-restore does: words between blanks, or between
// double quotes, where a backslash takes what is behind it.
func xtWords(line string) (words []string) {
	line = strings.TrimRight(line, "\n")
	if strings.ContainsAny(line, `"\`) {
		return xtQuotedWords(line)
	}
	words = make([]string, 0, 16)
	for start, i := 0, 0; i <= len(line); i++ {
		if i == len(line) || line[i] == ' ' || line[i] == '\t' {
			if i > start {
				words = append(words, line[start:i])
			}
			start = i + 1
		}
	}
	return words
}

func xtQuotedWords(line string) (words []string) {
	var b strings.Builder
	in, quoted, escaped := false, false, false
	for _, c := range []byte(line) {
		switch {
		case escaped:
			b.WriteByte(c)
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			in, quoted = true, !quoted
		case !quoted && (c == ' ' || c == '\t'):
			if in {
				words = append(words, b.String())
				b.Reset()
			}
			in = false
		default:
			in = true
			b.WriteByte(c)
		}
	}
	if in {
		words = append(words, b.String())
	}
	return words
}

// xtOptions are the options of a line, each once.
type xtOptions []xtOption

type xtOption struct{ key, value string }

func parseOptions(words []string) (*xtOptions, error) {
	o := make(xtOptions, 0, len(words)/2)
	for len(words) > 0 {
		key, value := words[0], ""
		words = words[1:]
		if key != "--random-fully" {
			if len(words) == 0 {
				return nil, errNotOurs
			}
			value, words = words[0], words[1:]
		}
		if key == "-m" {
			switch value {
			case "tcp", "udp", "sctp", "conntrack", "comment":
				continue
			}
			return nil, errNotOurs
		}
		if key == "!" || slices.ContainsFunc(o, func(p xtOption) bool { return p.key == key }) {
			return nil, errNotOurs
		}
		o = append(o, xtOption{key, value})
	}
	return &o, nil
}

// take is the value of an option, which is then done.
func (o *xtOptions) take(key string) (string, bool) {
	for i, p := range *o {
		if p.key == key {
			*o = append((*o)[:i], (*o)[i+1:]...)
			return p.value, true
		}
	}
	return "", false
}

// parse reads a line of one of our chains, as xtText or hairpinPair.String wrote it.
func (p *xtParser) parse(words []string) (xtLine, error) {
	o, err := parseOptions(words)
	if err != nil {
		return xtLine{}, err
	}
	if state, ok := o.take("--ctstate"); ok {
		return p.parseHairpin(state, o)
	}
	var r Rule
	comment, _ := o.take("--comment")
	from, to, err := r.xtParseComment(comment)
	if err == nil {
		err = p.parseMatch(&r, o)
	}
	if err == nil {
		err = p.parsePorts(&r, o)
	}
	if err == nil {
		err = p.parseTarget(&r, o)
	}
	if err != nil || len(*o) > 0 {
		return xtLine{}, errNotOurs
	}
	part := 0
	if from != (Ports{}) {
		part = int(r.DestinationPort.First) - int(from.First)
		if r.Action != Redirect || r.DestinationPort.Len() != 1 || part < 0 || int(r.ToPort.First)-int(to.First) != part {
			return xtLine{}, errNotOurs
		}
		r.DestinationPort, r.ToPort = from, to
		if part >= from.Len() || r.xtParts() < 2 {
			return xtLine{}, errNotOurs
		}
	}
	r = r.normal()
	if r.validate() != nil || r.xtUnsupported() != "" || (r.family() == IPv6) != p.v6 {
		return xtLine{}, errNotOurs
	}
	return xtLine{text: r.xtText(part), rule: r}, nil
}

func (p *xtParser) parseHairpin(state string, o *xtOptions) (xtLine, error) {
	from, err := p.network(o, "-s")
	if err != nil {
		return xtLine{}, err
	}
	to, err := p.network(o, "-d")
	target, _ := o.take("-j")
	if err != nil || state != "DNAT" || target != "MASQUERADE" || len(*o) > 0 || !to.IsValid() || !to.IsSingleIP() {
		return xtLine{}, errNotOurs
	}
	return xtLine{text: hairpinPair{from, to.Addr()}.String()}, nil
}

// network is the value of an option that has an address or a network, not valid if it
// is not there.
func (p *xtParser) network(o *xtOptions, key string) (n netip.Prefix, err error) {
	v, ok := o.take(key)
	if !ok {
		return n, nil
	}
	if strings.Contains(v, "/") {
		n, err = netip.ParsePrefix(v)
	} else {
		var a netip.Addr
		a, err = netip.ParseAddr(v)
		n = prefixOf(a)
	}
	if err != nil || n.Addr().Is6() != p.v6 || n.Bits() == 0 {
		return n, errNotOurs
	}
	return n, nil
}

func (p *xtParser) parseMatch(r *Rule, o *xtOptions) error {
	for _, m := range [...]struct {
		key   string
		field *netip.Prefix
	}{{"-s", &r.Source}, {"-d", &r.Destination}, {"--ctorigdst", &r.Original}} {
		n, err := p.network(o, m.key)
		switch {
		case err != nil:
			return err
		case n.IsValid() && m.field.IsValid(): // the comment tells of another
			return errNotOurs
		case n.IsValid():
			*m.field = n
		}
	}
	r.In, _ = o.take("-i")
	r.Out, _ = o.take("-o")
	if name, ok := o.take("-p"); ok {
		n, err := strconv.ParseUint(name, 10, 8)
		r.Protocol = Protocol(n)
		if err != nil {
			r.Protocol, ok = xtProtocols[name]
		}
		if !ok {
			r.Protocol = p.protocols[name]
		}
		if r.Protocol == 0 {
			return errNotOurs
		}
	}
	if r.told() == AnyFamily {
		r.Family = IPv4
		if p.v6 {
			r.Family = IPv6
		}
	}
	return nil
}

func (p *xtParser) parsePorts(r *Rule, o *xtOptions) (err error) {
	for _, m := range [...]struct {
		key   string
		field *Ports
	}{{"--sport", &r.SourcePort}, {"--dport", &r.DestinationPort}, {"--ctorigdstport", &r.OriginalPort}} {
		v, ok := o.take(m.key)
		if !ok {
			continue
		}
		v = strings.Replace(v, ":", "-", 1)
		if strings.HasSuffix(v, "-") {
			v += "65535"
		}
		if *m.field, err = parsePorts(v); err != nil {
			return err
		}
	}
	return nil
}

func (p *xtParser) parseTarget(r *Rule, o *xtOptions) (err error) {
	target, _ := o.take("-j")
	_, r.Random = o.take("--random-fully")
	base := Ports{}
	switch target {
	case "DNAT":
		r.Action = DNAT
		to, _ := o.take("--to-destination")
		r.To, r.ToPort, base, err = parseTo(to)
		if r.ToPort.Len() > 1 && base != Port(r.DestinationPort.First) || r.ToPort.Len() <= 1 && base != (Ports{}) {
			return errNotOurs // any port of the range, or another shift
		}
	case "SNAT":
		r.Action = SNAT
		to, _ := o.take("--to-source")
		if r.To, r.ToPort, base, err = parseTo(to); base != (Ports{}) {
			return errNotOurs
		}
	case "REDIRECT":
		r.Action = Redirect
		r.ToPort, err = takePorts(o)
		switch n := r.ToPort.Len(); {
		case n == 0 && r.DestinationPort.Len() > 1:
			r.ToPort = r.DestinationPort
		case n != 1:
			return errNotOurs
		}
	case "MASQUERADE":
		r.Action = Masquerade
		r.ToPort, err = takePorts(o)
	default:
		return errNotOurs
	}
	return err
}

func takePorts(o *xtOptions) (Ports, error) {
	v, ok := o.take("--to-ports")
	if !ok {
		return Ports{}, nil
	}
	return parsePorts(v)
}

// parseTo reads 1.2.3.4, 1.2.3.4:80-89, 1.2.3.4:80-89/180, fd00::1, [fd00::1]:80.
func parseTo(text string) (a netip.Addr, ports, base Ports, err error) {
	if text, shift, ok := strings.Cut(text, "/"); ok {
		if base, err = parsePorts(shift); err != nil {
			return a, ports, base, err
		}
		a, ports, _, err = parseTo(text)
		return a, ports, base, err
	}
	p, ports, err := parseEnd(text)
	return p.Addr(), ports, base, err
}
