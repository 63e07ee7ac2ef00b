package nat

import (
	"net/netip"
	"strconv"
	"strings"
)

// What a rule is to iptables: one line of iptables-restore, or as many as it has
// ports where iptables cannot shift them. Each line tells all of its rule, some of it
// in its comment: the name, and in pairs of words what iptables has no place for.

// xtPortsMost is how many lines a redirect to shifted ports may take.
const xtPortsMost = 1024

// xtLine is a line of one of our chains, without its -A and the chain.
type xtLine struct {
	text           string
	rule           Rule // zero for that of a hairpin
	packets, bytes uint64
}

// hairpinPair is what a line of a hairpin is for: connections from a network that were
// sent on to an address.
type hairpinPair struct {
	from netip.Prefix
	to   netip.Addr
}

func (h hairpinPair) String() string {
	var b strings.Builder
	xtNetwork(&b, "-s", h.from)
	xtNetwork(&b, "-d", prefixOf(h.to))
	b.WriteString(" -m conntrack --ctstate DNAT -j MASQUERADE")
	return b.String()[1:]
}

// xtUnsupported tells what iptables cannot do of a valid rule, or "".
func (r Rule) xtUnsupported() string {
	for _, name := range []string{r.In, r.Out} {
		if name != "" && (strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f }) ||
			strings.ContainsAny(name, `'"\`) || name[0] == '!' || name[0] == '-') {
			return "iptables cannot take the name of interface " + strconv.Quote(name)
		}
	}
	if r.xtParts() > xtPortsMost {
		return "a redirect to shifted ports takes iptables a line for each port: use at most " + strconv.Itoa(xtPortsMost) + " ports, or NFTables"
	}
	return ""
}

// xtParts is how many lines the rule is.
func (r Rule) xtParts() int {
	if r.Action == Redirect && r.ToPort.Len() > 1 && r.ToPort != r.DestinationPort {
		return r.ToPort.Len()
	}
	return 1
}

// xtText is one line of the rule.
func (r Rule) xtText(part int) string {
	var b strings.Builder
	comment := r.xtComment()
	if r.xtParts() > 1 {
		r.DestinationPort = Port(r.DestinationPort.First + uint16(part))
		r.ToPort = Port(r.ToPort.First + uint16(part))
	}
	xtNetwork(&b, "-s", r.Source)
	xtNetwork(&b, "-d", r.Destination)
	xtWord(&b, "-i", r.In)
	xtWord(&b, "-o", r.Out)
	if r.Protocol != 0 {
		xtWord(&b, "-p", strconv.Itoa(int(r.Protocol)))
	}
	if r.SourcePort != (Ports{}) || r.DestinationPort != (Ports{}) {
		xtWord(&b, "-m", r.Protocol.String())
		xtPorts(&b, "--sport", r.SourcePort)
		xtPorts(&b, "--dport", r.DestinationPort)
	}
	if r.Original.IsValid() && r.Original.Bits() > 0 || r.OriginalPort != (Ports{}) {
		b.WriteString(" -m conntrack")
		xtNetwork(&b, "--ctorigdst", r.Original)
		xtPorts(&b, "--ctorigdstport", r.OriginalPort)
	}
	if comment != "" {
		b.WriteString(` -m comment --comment "` + comment + `"`)
	}
	r.xtTarget(&b)
	return b.String()[1:]
}

// xtWord adds an option.
func xtWord(b *strings.Builder, key, value string) {
	if value != "" {
		b.WriteByte(' ')
		b.WriteString(key)
		b.WriteByte(' ')
		b.WriteString(value)
	}
}

func xtNetwork(b *strings.Builder, key string, p netip.Prefix) {
	if p.IsValid() && p.Bits() > 0 { // iptables has no word for all of them
		xtWord(b, key, p.String())
	}
}

func xtPorts(b *strings.Builder, key string, p Ports) {
	if p != (Ports{}) {
		xtWord(b, key, strings.Replace(p.String(), "-", ":", 1))
	}
}

func (r Rule) xtTarget(b *strings.Builder) {
	xtWord(b, "-j", strings.ToUpper(r.Action.String()))
	ports := ""
	if r.ToPort != (Ports{}) {
		ports = r.ToPort.String()
	}
	switch r.Action {
	case DNAT, SNAT:
		to := r.To.String()
		switch {
		case r.Action == SNAT:
		case ports == "" && r.DestinationPort.Len() == 1: // it says what is meant
			ports = r.DestinationPort.String()
		case r.ToPort.Len() > 1:
			ports += "/" + strconv.Itoa(int(r.DestinationPort.First))
		}
		if ports != "" {
			if r.To.Is6() {
				to = "[" + to + "]"
			}
			to += ":" + ports
		}
		xtWord(b, map[Action]string{DNAT: "--to-destination", SNAT: "--to-source"}[r.Action], to)
	case Redirect:
		if r.ToPort.Len() == 1 { // a range stays as it is
			xtWord(b, "--to-ports", ports)
		}
	default:
		xtWord(b, "--to-ports", ports)
	}
	if r.Random {
		b.WriteString(" --random-fully")
	}
}

// xtComment is the name, and what the line does not tell.
func (r Rule) xtComment() string {
	var words []string
	if r.Name != "" {
		words = append(words, r.Name)
	}
	if r.Hairpin.IsValid() {
		words = append(words, "hairpin", r.Hairpin.String())
	}
	for i, p := range []netip.Prefix{r.Source, r.Destination, r.Original} {
		if p.IsValid() && p.Bits() == 0 {
			words = append(words, []string{"source", "destination", "original"}[i], p.String())
		}
	}
	if r.xtParts() > 1 {
		words = append(words, "shift", r.DestinationPort.String()+">"+r.ToPort.String())
	}
	return strings.Join(words, " ")
}

// xtParseComment reads what xtComment wrote: pairs, behind a name if there is an odd
// number of words. The ports of a shift are returned.
func (r *Rule) xtParseComment(text string) (from, to Ports, err error) {
	words := strings.Fields(text)
	if len(words)%2 == 1 {
		r.Name, words = words[0], words[1:]
	}
	for ; len(words) > 0 && err == nil; words = words[2:] {
		p := map[string]*netip.Prefix{"hairpin": &r.Hairpin, "source": &r.Source, "destination": &r.Destination, "original": &r.Original}[words[0]]
		switch {
		case words[0] == "shift":
			a, b, _ := strings.Cut(words[1], ">")
			if from, err = parsePorts(a); err == nil {
				to, err = parsePorts(b)
			}
		case p == nil || p.IsValid():
			err = errNotOurs
		default:
			if *p, err = netip.ParsePrefix(words[1]); err == nil && p != &r.Hairpin && p.Bits() > 0 {
				err = errNotOurs
			}
		}
	}
	return from, to, err
}
