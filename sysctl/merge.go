package sysctl

import (
	"fmt"
	"slices"
	"strings"
)

// Merge makes one list of the settings of several roles. A key that is wanted
// more than once is wanted so that all are content, where it stood first; if
// that cannot be, the error matches ErrConflict and names both reasons.
// Settings that make the kernel reset others (ip_forward and the forwarding
// of "all") come first. Every setting is validated.
func Merge(roles ...[]Setting) ([]Setting, error) {
	var merged []Setting
	at := make(map[Key]int)
	for _, s := range slices.Concat(roles...) {
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

// rank is 0 for keys that reset others.
func rank(k Key) int {
	if resetFamily(k) != "" {
		return 0
	}
	return 1
}

// canonical is the same key for both names of one variable: ip_forward is
// conf/all/forwarding (kernel: net/ipv4/devinet.c, ctl_forward_entry).
func canonical(k Key) Key {
	if k == IPv4Conf("all", "forwarding") {
		return IPv4("ip_forward")
	}
	return k
}

// resetFamily is "ipv4" or "ipv6" if a change of the key resets the
// forwarding of all interfaces of that family, else "".
func resetFamily(k Key) string {
	switch canonical(k) {
	case IPv4("ip_forward"):
		return "ipv4"
	case IPv6Conf("all", "forwarding"):
		return "ipv6"
	}
	return ""
}

func because(reason string) string {
	if reason == "" {
		return "no reason given"
	}
	return reason
}
