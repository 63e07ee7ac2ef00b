package sysctl

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Key names one kernel setting by its path below /proc/sys. Keys are
// comparable. The zero Key is invalid.
//
// A Key made from a bad component (an interface named ".." or with a slash in
// it) is invalid: everything that takes keys refuses it with ErrKey.
type Key struct {
	path string
	bad  string // why it is invalid; "" if it is not
}

// NewKey makes a key from its path components, as in
// NewKey("net", "ipv4", "conf", "eth0.100", "rp_filter").
// Two components at least; each is UTF-8 without slash, space or control
// character, neither "." nor "..", at most 255 bytes long.
func NewKey(components ...string) Key {
	k := Key{path: strings.Join(components, "/")}
	if len(components) < 2 {
		k.bad = "it needs two path components at least, as in net/ipv4/ip_forward"
	}
	for _, c := range components {
		if why := badComponent(c); why != "" {
			k.bad = fmt.Sprintf("component %q %s", c, why)
			break
		}
	}
	return k
}

// ParseKey reads the slash form, "net/ipv4/ip_forward". The dotted form is
// refused, because it cannot tell eth0.100 from eth0/100.
func ParseKey(s string) (Key, error) {
	k := NewKey(strings.Split(s, "/")...)
	return k, k.Validate()
}

// IPv4 is the key net/ipv4/NAME.
func IPv4(name string) Key { return NewKey("net", "ipv4", name) }

// IPv6 is the key net/ipv6/NAME.
func IPv6(name string) Key { return NewKey("net", "ipv6", name) }

// IPv4Conf is the key net/ipv4/conf/IFACE/NAME. The interface may be "all" or
// "default", the template of interfaces to come.
func IPv4Conf(iface, name string) Key { return NewKey("net", "ipv4", "conf", iface, name) }

// IPv6Conf is the key net/ipv6/conf/IFACE/NAME, like [IPv4Conf].
func IPv6Conf(iface, name string) Key { return NewKey("net", "ipv6", "conf", iface, name) }

// IPVS is the key net/ipv4/vs/NAME, which is there once ip_vs is loaded
// (kernel: Documentation/networking/ipvs-sysctl.rst).
func IPVS(name string) Key { return NewKey("net", "ipv4", "vs", name) }

// Validate says why the key is invalid; the error matches ErrKey.
func (k Key) Validate() error {
	if k.path == "" && k.bad == "" {
		k.bad = "it is empty"
	}
	if k.bad != "" {
		return fmt.Errorf("%w %q: %s", ErrKey, k.path, k.bad)
	}
	return nil
}

// String is the slash form.
func (k Key) String() string { return k.path }

// Components are the parts of the path.
func (k Key) Components() []string { return strings.Split(k.path, "/") }

// Interface is the interface whose setting this is, of either family: X in
// net/ipv4/conf/X/rp_filter and in net/ipv4/neigh/X/gc_stale_time. It is ""
// for other keys, and may be "all" or "default".
func (k Key) Interface() string {
	if c := k.perInterface(); c != nil {
		return c[3]
	}
	return ""
}

// MarshalText is the slash form.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.path), k.Validate() }

// UnmarshalText reads the slash form.
func (k *Key) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKey(string(text))
	return err
}

// perInterface is the components if the key is one of an interface.
func (k Key) perInterface() []string {
	c := k.Components()
	if k.bad == "" && len(c) == 5 && c[0] == "net" && (c[1] == "ipv4" || c[1] == "ipv6") && (c[2] == "conf" || c[2] == "neigh") {
		return c
	}
	return nil
}

// conf is the interface and the name of a key net/FAMILY/conf/IFACE/NAME.
func (k Key) conf(family string) (iface, name string, ok bool) {
	c := k.perInterface()
	if c == nil || c[1] != family || c[2] != "conf" {
		return "", "", false
	}
	return c[3], c[4], true
}

// pattern is the path with a star for the interface.
func (k Key) pattern() string {
	if c := k.perInterface(); c != nil {
		c = slices.Clone(c)
		c[3] = "*"
		return strings.Join(c, "/")
	}
	return k.path
}

func badComponent(c string) string {
	switch {
	case c == "":
		return "is empty"
	case c == "." || c == "..":
		return "would leave its folder"
	case strings.Contains(c, "/"):
		return "has a slash"
	case len(c) > 255:
		return "is longer than 255 bytes"
	case !utf8.ValidString(c):
		return "is not UTF-8"
	case strings.ContainsFunc(c, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "has a space or a control character"
	}
	return ""
}
