package vip

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Tunnel is a device on which a real server takes what directors send it in a
// tunnel. It only decapsulates: the answers leave by the ordinary routes.
//
// A device of our own takes packets from any director to the address Local. The
// kernel allows one device per Kind and Local, and the devices named tunl0,
// sit0, gre0 stand for "any": they are foreign and can be used as Existing.
type Tunnel struct {
	// Name is the name of the device; empty is "lvs0".
	Name string
	// Kind is the device's kind; zero is IPIP.
	Kind TunnelKind
	// Local is the real server's own address, to which directors send: IPv4 for
	// IPIP, SIT and GRE, IPv6 for IP6Tunnel and IP6GRE.
	Local netip.Addr
	// GUEPort, unless zero, is the UDP port on which packets come in Generic UDP
	// Encapsulation (IPVS tunnel type gue), for the kinds IPIP, SIT and IP6Tunnel.
	// The port is opened on all addresses of Local's family.
	GUEPort uint16
	// Checksum says that GRE packets carry checksums (IPVS tunnel flag csum); the
	// kernel drops those that differ from this.
	Checksum bool
	// MTU is the device's MTU; zero is the kernel's choice.
	MTU int
	// Existing says that a device of this name is there already, such as tunl0.
	// It must be up. Only its rp_filter and the addresses on it are changed, and
	// the other fields are ignored.
	Existing bool
}

// TunnelKind is the kind of a tunnel device, by the kernel's word for it.
type TunnelKind uint8

// The kinds of tunnel devices.
const (
	IPIP      TunnelKind = iota // IPv4 in IPv4, module ipip
	SIT                         // IPv6 (or IPv4) in IPv4, module sit
	IP6Tunnel                   // IPv4 and IPv6 in IPv6, module ip6_tunnel
	GRE                         // any in GRE in IPv4, module ip_gre
	IP6GRE                      // any in GRE in IPv6, module ip6_gre
)

var tunnelKinds = [...]struct{ name, module string }{
	IPIP: {"ipip", "ipip"}, SIT: {"sit", "sit"}, IP6Tunnel: {"ip6tnl", "ip6_tunnel"},
	GRE: {"gre", "ip_gre"}, IP6GRE: {"ip6gre", "ip6_gre"},
}

// String is ip's word for the kind.
func (k TunnelKind) String() string {
	if int(k) < len(tunnelKinds) {
		return tunnelKinds[k].name
	}
	return "kind " + strconv.Itoa(int(k))
}

// MarshalText writes what String does.
func (k TunnelKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads ip's word: ipip, sit, ip6tnl, gre, ip6gre.
func (k *TunnelKind) UnmarshalText(text []byte) error {
	for i, kind := range tunnelKinds {
		if kind.name == string(text) {
			*k = TunnelKind(i)
			return nil
		}
	}
	return fmt.Errorf("vip: tunnel kind %q: want ipip, sit, ip6tnl, gre or ip6gre", text)
}

// over6 tells whether the outer packets are IPv6.
func (k TunnelKind) over6() bool { return k == IP6Tunnel || k == IP6GRE }

func (k TunnelKind) gre() bool { return k == GRE || k == IP6GRE }

// fit is the kind that carries a virtual address over the family of local: the
// caller says IPIP or GRE, the families say which device that is.
func (k TunnelKind) fit(local, addr netip.Addr) TunnelKind {
	switch {
	case k.gre() && local.Is6():
		return IP6GRE
	case k.gre():
		return GRE
	case local.Is6():
		return IP6Tunnel
	case k == IPIP && addr.Is6():
		return SIT
	}
	return k
}

func (t Tunnel) normal() Tunnel {
	if t.Name == "" {
		t.Name = "lvs0"
	}
	if t.Existing {
		return Tunnel{Name: t.Name, Existing: true}
	}
	t.Local = t.Local.Unmap()
	return t
}

func (t Tunnel) validate() error {
	t = t.normal()
	if err := validInterface(t.Name); err != nil || t.Existing {
		return err
	}
	switch {
	case int(t.Kind) >= len(tunnelKinds):
		return invalid("tunnel %v", t.Kind)
	case !t.Local.IsValid() || t.Local.IsUnspecified() || t.Local.IsMulticast() || t.Local.Zone() != "":
		return invalid("the tunnel needs this machine's own address as Local")
	case t.Local.Is6() != t.Kind.over6():
		return invalid("a tunnel of kind %v cannot have the local address %v", t.Kind, t.Local)
	case t.GUEPort != 0 && t.Kind.gre():
		return invalid("GUE carries IPIP, SIT or IP6Tunnel, not GRE")
	case t.Checksum && !t.Kind.gre():
		return invalid("only GRE has checksums")
	case t.MTU < 0 || t.MTU > 65535:
		return invalid("MTU %d", t.MTU)
	case t.Name == "all" || t.Name == "default" || strings.HasPrefix(t.Name, tempPrefix):
		return invalid("the name %q is reserved", t.Name)
	}
	return nil
}

func (t Tunnel) object() string { return "device " + t.normal().Name }

// alias marks a device as ours. It names all that makes the tunnel, so that a
// difference shows.
func (t Tunnel) alias(mark uint8) string {
	return fmt.Sprintf("%s%s local %v csum %v mtu %d", aliasPrefix(mark), t.Kind, t.Local, t.Checksum, t.MTU)
}

func aliasPrefix(mark uint8) string { return fmt.Sprintf("lvskit vip %d: ", mark) }

// tempPrefix begins the name under which a device is made, before it gets its
// alias and its own name in one step: a device killed half-way is ours by name.
const tempPrefix = "lvskit~"

func tempName(mark uint8) string { return tempPrefix + strconv.Itoa(int(mark)) }

// A GUE is a UDP port of the kernel that takes Generic UDP Encapsulation.
type GUE struct {
	Port uint16
	IPv6 bool // on IPv6, else on IPv4
}

func (t Tunnel) gue() GUE { return GUE{t.GUEPort, t.Kind.over6()} }

func (g GUE) String() string {
	if g.IPv6 {
		return fmt.Sprintf("port %d gue -6", g.Port)
	}
	return fmt.Sprintf("port %d gue", g.Port)
}
