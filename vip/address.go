package vip

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// An Address is one wanted IP address of an interface.
type Address struct {
	// Interface is the name of the device, such as "eth0" or "lo".
	Interface string
	// Addr is the IP address, IPv4 or IPv6 without a zone. It may be neither
	// unspecified nor multicast. An IPv4-mapped IPv6 address is taken as IPv4.
	Addr netip.Addr
	// Bits is the prefix length. Zero is a /32 or /128, as a virtual address
	// should be. With a shorter IPv4 prefix the kernel may choose the address
	// as the source of connections.
	Bits int
	// Label is the IPv4 label that ifconfig shows ("eth0:1"): at most 15 bytes,
	// beginning with the interface's name. Empty leaves the choice to the kernel,
	// except that kernels before 5.18 get a label that says whose it is.
	Label string
	// Scope is the scope of an IPv4 address; zero is global. The kernel derives
	// that of an IPv6 address itself, so there it must be zero.
	Scope Scope
}

// normal fills in what zero stands for.
func (a Address) normal() Address {
	a.Addr = a.Addr.Unmap()
	if a.Bits == 0 {
		a.Bits = a.Addr.BitLen()
	}
	return a
}

// Prefix is the address with its prefix length.
func (a Address) Prefix() netip.Prefix {
	a = a.normal()
	return netip.PrefixFrom(a.Addr, a.Bits)
}

// String is the address as in the arguments of "ip address add".
func (a Address) String() string {
	var b strings.Builder
	b.WriteString(a.object())
	if a.Label != "" {
		b.WriteString(" label " + a.Label)
	}
	if a.Scope != ScopeGlobal {
		b.WriteString(" scope " + a.Scope.String())
	}
	return b.String()
}

func (a Address) object() string { return a.Prefix().String() + " dev " + a.Interface }

// addressKey identifies an address: by interface and IP, whatever its prefix.
type addressKey struct {
	iface string
	addr  netip.Addr
}

func (a Address) key() addressKey { return addressKey{a.Interface, a.Addr.Unmap()} }

func (a Address) validate() error {
	addr := a.Addr.Unmap()
	switch {
	case !addr.IsValid():
		return invalid("no IP address")
	case addr.Zone() != "":
		return invalid("an address with a zone: the interface says it")
	case addr.IsUnspecified(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return invalid("not the address of a host")
	case a.Bits < 0, a.Bits > addr.BitLen():
		return invalid("prefix length %d", a.Bits)
	case addr.Is6() && a.Label != "":
		return invalid("IPv6 addresses have no label")
	case addr.Is6() && a.Scope != ScopeGlobal:
		return invalid("the kernel derives the scope of an IPv6 address")
	case len(a.Label) > maxName:
		return invalid("label %q is longer than %d bytes", a.Label, maxName)
	case a.Label != "" && (!strings.HasPrefix(a.Label, a.Interface) || !validText(a.Label)):
		return invalid("label %q does not begin with the interface's name", a.Label)
	}
	return validInterface(a.Interface)
}

// maxName is the kernel's IFNAMSIZ without the final zero.
const maxName = 15

func validInterface(name string) error {
	if name == "" || len(name) > maxName || name == "." || name == ".." || strings.ContainsAny(name, "/:") || !validText(name) {
		return invalid("interface name %q", name)
	}
	return nil
}

func validText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// ownerLabel is the label that marks an address on kernels that have nothing
// better: as long as the name leaves room for, empty if there is none.
func ownerLabel(iface string) string {
	for _, suffix := range []string{":lvskit", ":lvs", ":v"} {
		if len(iface)+len(suffix) <= maxName {
			return iface + suffix
		}
	}
	return ""
}

// Scope is the reach of an IPv4 address (rtnetlink's RT_SCOPE values).
type Scope uint8

// The scopes that the kernel and ip know by name. Zero is global.
const (
	ScopeGlobal Scope = 0
	ScopeSite   Scope = 200
	ScopeLink   Scope = 253
	ScopeHost   Scope = 254
)

var scopeNames = map[Scope]string{ScopeGlobal: "global", ScopeSite: "site", ScopeLink: "link", ScopeHost: "host"}

// String is ip's word for the scope, or its number.
func (s Scope) String() string {
	if name, ok := scopeNames[s]; ok {
		return name
	}
	return strconv.Itoa(int(s))
}

// MarshalText writes what String does.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name or a number below 256.
func (s *Scope) UnmarshalText(text []byte) error {
	for scope, name := range scopeNames {
		if name == string(text) {
			*s = scope
			return nil
		}
	}
	n, err := strconv.ParseUint(string(text), 10, 8)
	if err != nil {
		return fmt.Errorf("vip: scope %q: want global, site, link, host or a number", text)
	}
	*s = Scope(n)
	return nil
}
