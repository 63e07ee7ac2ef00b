package nat

import (
	"net/netip"
	"strconv"
	"strings"
)

// Action is what a rule does to a connection's addresses.
type Action uint8

const (
	// DNAT sends connections to another destination: Rule.To and Rule.ToPort.
	DNAT Action = iota + 1
	// Redirect sends them to this machine itself, to Rule.ToPort.
	Redirect
	// SNAT gives them another source: Rule.To and Rule.ToPort.
	SNAT
	// Masquerade gives them as source the address of the interface by which they
	// leave, and forgets them when that interface goes down.
	Masquerade
)

// Protocol is a transport protocol, by its IP number. Zero is every protocol.
type Protocol uint8

// The protocols that have ports.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// Family is an address family.
type Family uint8

const (
	// AnyFamily is the family of the rule's addresses.
	AnyFamily Family = iota
	IPv4
	IPv6
)

// Ports is a range of ports, both ends included. The zero value is every port.
type Ports struct{ First, Last uint16 }

// Port is the range of one port.
func Port(n uint16) Ports { return Ports{n, n} }

// Len is the number of ports in the range, zero for every port.
func (p Ports) Len() int {
	if p == (Ports{}) {
		return 0
	}
	return int(p.Last) - int(p.First) + 1
}

// Rule rewrites the addresses of the connections that match it. A connection is
// one that conntrack knows: the rule looks at its first packet, and all others, of
// both directions, are rewritten as that one was.
//
// Fields that are zero match everything.
type Rule struct {
	// Name tells rules apart in List, in logs and metrics, and to a person who
	// looks at the kernel's rules. It need not be unique; at most 64 letters,
	// digits and any of "._:/-".
	Name string

	Action Action // required

	// Family is required where no address tells it.
	Family Family

	Protocol    Protocol
	Source      netip.Prefix
	Destination netip.Prefix
	SourcePort  Ports // with TCP, UDP or SCTP
	// DestinationPort is the port before DNAT and Redirect, and after that for SNAT
	// and Masquerade, which come later.
	DestinationPort Ports

	// Original and OriginalPort are the destination that the client had asked for,
	// before DNAT, Redirect or IPVS (with net.ipv4.vs.conntrack=1) changed it. For
	// SNAT and Masquerade.
	Original     netip.Prefix
	OriginalPort Ports

	In  string // the interface by which packets come: for DNAT and Redirect
	Out string // the interface by which they leave: for SNAT and Masquerade

	// To is the new address of DNAT and SNAT.
	To netip.Addr
	// ToPort is the new port. Zero leaves it as it is, as far as it is free (SNAT).
	// One port takes all of DestinationPort. For DNAT, a range as long as
	// DestinationPort shifts it: its first port becomes the first one there, and so
	// on. For SNAT and Masquerade the kernel takes any free port of the range.
	ToPort Ports

	// Random takes a port that cannot be foretold, for SNAT and Masquerade
	// (NF_NAT_RANGE_PROTO_RANDOM_FULLY): fewer collisions when many
	// connections are opened at a time, and a guard against spoofed DNS answers.
	Random bool

	// Hairpin is the network whose machines reach a published address (DNAT) too,
	// though the server is one of them: they are masqueraded, since the server
	// would answer them without the gateway. Zero: no hairpin.
	Hairpin netip.Prefix
}

var actionNames = []string{DNAT: "dnat", Redirect: "redirect", SNAT: "snat", Masquerade: "masquerade"}

// String is the word that iptables and nft have for it, in lower case.
func (a Action) String() string {
	if int(a) < len(actionNames) && actionNames[a] != "" {
		return actionNames[a]
	}
	return "Action(" + strconv.Itoa(int(a)) + ")"
}

// destination tells the actions that change where a connection goes.
func (a Action) destination() bool { return a == DNAT || a == Redirect }

var protocolNames = map[Protocol]string{TCP: "tcp", UDP: "udp", SCTP: "sctp", 1: "icmp", 58: "icmpv6", 47: "gre", 50: "esp", 51: "ah"}

// String is the protocol's name in lower case, or its number.
func (p Protocol) String() string {
	if name := protocolNames[p]; name != "" {
		return name
	}
	return strconv.Itoa(int(p))
}

// ported tells the protocols that have ports.
func (p Protocol) ported() bool { return p == TCP || p == UDP || p == SCTP }

// String is "80" or "8000-8099".
func (p Ports) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return strconv.Itoa(int(p.First)) + "-" + strconv.Itoa(int(p.Last))
}

// String is the rule in one line, as Parse reads it:
//
//	dnat web: tcp in eth1 destination 12.0.0.1:3344 to 192.168.160.100:3344
//	snat: source 192.168.160.0/24 out eth1 to 12.0.0.1
func (r Rule) String() string {
	var b strings.Builder
	b.WriteString(r.Action.String())
	if r.Name != "" {
		b.WriteString(" " + r.Name)
	}
	b.WriteString(":")
	if r.Family != AnyFamily && r.Family != r.told() {
		b.WriteString(map[Family]string{IPv4: " ipv4", IPv6: " ipv6"}[r.Family])
	}
	if r.Protocol != 0 {
		b.WriteString(" " + r.Protocol.String())
	}
	word(&b, "in", r.In)
	end(&b, "source", r.Source, r.SourcePort)
	end(&b, "destination", r.Destination, r.DestinationPort)
	end(&b, "original", r.Original, r.OriginalPort)
	word(&b, "out", r.Out)
	to := netip.Prefix{}
	if r.To.IsValid() {
		to = netip.PrefixFrom(r.To, r.To.BitLen())
	}
	end(&b, "to", to, r.ToPort)
	if r.Random {
		b.WriteString(" random")
	}
	end(&b, "hairpin", r.Hairpin, Ports{})
	return b.String()
}

func word(b *strings.Builder, key, value string) {
	if value != "" {
		b.WriteString(" " + key + " " + value)
	}
}

// end writes an address or network, with ports.
func end(b *strings.Builder, key string, p netip.Prefix, ports Ports) {
	if !p.IsValid() && ports == (Ports{}) {
		return
	}
	b.WriteString(" " + key + " ")
	text := "*"
	switch {
	case p.IsSingleIP():
		text = p.Addr().String()
	case p.IsValid():
		text = p.String()
	}
	if ports == (Ports{}) {
		b.WriteString(text)
		return
	}
	if p.Addr().Is6() {
		text = "[" + text + "]"
	}
	b.WriteString(text + ":" + ports.String())
}

// told is the family that the rule's addresses tell.
func (r *Rule) told() Family {
	for _, a := range [...]netip.Addr{r.To, r.Destination.Addr(), r.Source.Addr(), r.Original.Addr(), r.Hairpin.Addr()} {
		switch {
		case !a.IsValid():
		case a.Unmap().Is4():
			return IPv4
		default:
			return IPv6
		}
	}
	return AnyFamily
}

// family is that of the rule's packets.
func (r Rule) family() Family {
	if f := r.told(); f != AnyFamily {
		return f
	}
	return r.Family
}

// local tells a rule that the gateway's own connections come to as well: what
// leads them to certain addresses, not what catches all that passes by.
func (r Rule) local() bool {
	return r.Action == DNAT && r.In == "" && r.Destination.IsValid()
}

// shifts tells a rule whose ports are shifted and that is not looked up.
func (r Rule) shifts() bool { return r.Action.destination() && r.ToPort.Len() > 1 && !r.Exact() }
