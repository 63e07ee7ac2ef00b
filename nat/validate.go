package nat

import (
	"cmp"
	"net/netip"
	"strings"
)

const (
	maxName      = 64
	maxInterface = 15 // IFNAMSIZ with its zero byte (include/uapi/linux/if.h)
)

// Validate reports the first thing about a rule that no backend can do. The error
// is an *OpError and matches fs.ErrInvalid; its text says what to do.
func (r Rule) Validate() error { return r.valid() }

// valid is Validate without copying.
func (r *Rule) valid() error {
	if err := r.validate(); err != nil {
		return &OpError{Op: "validate", Object: r.String(), Err: err}
	}
	return nil
}

func (r *Rule) validate() error {
	return cmp.Or(r.checkName(), r.checkFamily(), r.checkPorts(), r.checkSides(), r.checkTarget(), r.checkHairpin())
}

func (r *Rule) checkName() error {
	if len(r.Name) > maxName {
		return invalidf("the name has %d bytes: use at most %d", len(r.Name), maxName)
	}
	if i := strings.IndexFunc(r.Name, func(c rune) bool { return !nameRune(c) }); i >= 0 {
		return invalidf("the name has %q: use letters, digits and ._:/-", r.Name[i:i+1])
	}
	for _, name := range [...]string{r.In, r.Out} {
		if len(name) > maxInterface || strings.ContainsAny(name, " /\t\n\"+*") {
			return invalidf("%q is no name of an interface: use at most %d bytes, without blanks, slashes and wildcards", name, maxInterface)
		}
	}
	return nil
}

func nameRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._:/-", c)
}

// checkFamily wants one family, and addresses in one form.
func (r *Rule) checkFamily() error {
	family := r.Family
	if family > IPv6 {
		return invalidf("unknown family %d: use IPv4 or IPv6", family)
	}
	for _, p := range [...]netip.Prefix{r.Source, r.Destination, r.Original, r.Hairpin, prefixOf(r.To)} {
		switch {
		case p == netip.Prefix{}:
			continue
		case !p.IsValid():
			return invalid("a network has a length that its family does not have")
		case p.Addr().Is4In6() || p.Addr().Zone() != "":
			return invalidf("%s: use a plain IPv4 or IPv6 address", p)
		case p != p.Masked():
			return invalidf("%s has bits behind its length: did you mean %s, or %s/%d?", p, p.Masked(), p.Addr(), p.Addr().BitLen())
		}
		is := IPv6
		if p.Addr().Is4() {
			is = IPv4
		}
		if family != AnyFamily && family != is {
			return invalid("its addresses are of both families: make a rule for each")
		}
		family = is
	}
	if family == AnyFamily {
		return invalid("no address tells the family: set Family to IPv4 or IPv6")
	}
	return nil
}

func prefixOf(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

func (r *Rule) checkPorts() error {
	for _, p := range [...]Ports{r.SourcePort, r.DestinationPort, r.OriginalPort, r.ToPort} {
		switch {
		case p == Ports{}:
		case !r.Protocol.ported():
			return invalidf("port %s without a protocol that has ports: set Protocol to TCP, UDP or SCTP", p)
		case p.First == 0 || p.Last < p.First:
			return invalidf("ports %s: use 1 to 65535, the lower one first", p)
		}
	}
	return nil
}

// checkSides refuses what is not known where the rule is looked at.
func (r *Rule) checkSides() error {
	switch {
	case r.Action < DNAT || r.Action > Masquerade:
		return invalid("no action: set Action to DNAT, Redirect, SNAT or Masquerade")
	case r.Action.destination() && r.Out != "":
		return invalidf("%s comes before routing, when no outgoing interface is known: use In", r.Action)
	case r.Action.destination() && (r.Original.IsValid() || r.OriginalPort != Ports{}):
		return invalidf("%s is what changes the original destination: use Destination", r.Action)
	case !r.Action.destination() && r.In != "":
		return invalidf("%s comes after routing: use Out, or Source", r.Action)
	case r.Random && r.Action.destination():
		return invalidf("random ports are for snat and masquerade, not %s: drop Random", r.Action)
	}
	return nil
}

func (r *Rule) checkTarget() error {
	switch r.Action {
	case DNAT, SNAT:
		if !r.To.IsValid() || r.To.IsUnspecified() || r.To.IsMulticast() {
			return invalidf("%s needs a unicast address: set To", r.Action)
		}
	default:
		if r.To.IsValid() {
			return invalidf("%s takes its address from the machine: leave To out", r.Action)
		}
	}
	n := r.ToPort.Len()
	switch {
	case r.Action == Redirect && n == 0:
		return invalid("redirect needs a port: set ToPort")
	case r.Action.destination() && n > 1 && n != r.DestinationPort.Len():
		return invalidf("%d ports can not be shifted to %d: use ranges of one length, or one ToPort", r.DestinationPort.Len(), n)
	case r.Action == DNAT && r.To == r.Destination.Addr() && r.Destination.IsSingleIP() && (n == 0 || r.ToPort == r.DestinationPort):
		return invalid("it changes nothing: To is the destination itself")
	}
	return nil
}

func (r *Rule) checkHairpin() error {
	switch {
	case !r.Hairpin.IsValid():
		return nil
	case r.Action != DNAT:
		return invalidf("hairpin is for dnat, not %s", r.Action)
	case r.In != "":
		return invalidf("hairpin and in %s: machines of %s come by another interface: leave In out", r.In, r.Hairpin)
	}
	return nil
}
