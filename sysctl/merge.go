package sysctl

import (
	"fmt"
	"slices"
	"strings"
)

// Merge makes one list of the settings of several roles. A key that is wanted
// more than once is wanted so that all are content, where it stood first; if
// that cannot be, the error matches ErrConflict and names both reasons.
// Settings that make the kernel reset others (ip_forward, the forwarding of
// "all", then all of "default") come first. Every setting is validated.
func Merge(roles ...[]Setting) ([]Setting, error) {
	merged, err := merge(slices.Concat(roles...))
	return merged, opError("merge", err)
}

func merge(settings []Setting) ([]Setting, error) {
	var merged []Setting
	at := make(map[Key]int)
	for _, s := range settings {
		if err := s.Validate(); err != nil {
			return nil, err
		}
		i, dup := at[canonical(s.Key)]
		if !dup {
			at[canonical(s.Key)] = len(merged)
			merged = append(merged, s)
			continue
		}
		m := &merged[i]
		both, ok := m.Want.and(s.Want)
		if !ok {
			return nil, fmt.Errorf("%w: %s is wanted %s (%s) and %s (%s)",
				ErrConflict, s.Key, m.Want, because(m.Reason), s.Want, because(s.Reason))
		}
		m.Want = both
		m.Optional = m.Optional && s.Optional
		if s.Reason != "" && !strings.Contains(m.Reason, s.Reason) {
			m.Reason = strings.TrimPrefix(m.Reason+"; "+s.Reason, "; ")
		}
	}
	slices.SortStableFunc(merged, func(a, b Setting) int { return rank(a.Key) - rank(b.Key) })
	return merged, nil
}

// rank orders the writes: what resets others comes first, and ip_forward, which
// resets the forwarding of "default" too, before "default".
func rank(k Key) int {
	family, name := resetGroup(k)
	switch {
	case family == "":
		return 2
	case k == IPv4Conf("default", name):
		return 1
	}
	return 0
}

// canonical is the same key for both names of one variable: ip_forward is
// conf/all/forwarding (kernel: net/ipv4/devinet.c, ctl_forward_entry).
func canonical(k Key) Key {
	if k == IPv4Conf("all", "forwarding") {
		return IPv4("ip_forward")
	}
	return k
}

// resetGroup is the family and the name of the keys net/FAMILY/conf/*/NAME to
// which the kernel may give new values when k changes, or "".
//
// net/ipv4/conf/default is among them: an interface follows it, value by value,
// until that value is set on the interface or the interface gets its first
// address (kernel: net/ipv4/devinet.c, devinet_copy_dflt_conf).
func resetGroup(k Key) (family, name string) {
	if canonical(k) == IPv4("ip_forward") {
		return "ipv4", "forwarding"
	}
	if iface, name, ok := k.conf("ipv4"); ok && iface == "default" {
		return "ipv4", name
	}
	if iface, name, ok := k.conf("ipv6"); ok && iface == "all" && (name == "forwarding" || name == "disable_ipv6") {
		return "ipv6", name
	}
	return "", ""
}

func because(reason string) string {
	if reason == "" {
		return "no reason given"
	}
	return reason
}
