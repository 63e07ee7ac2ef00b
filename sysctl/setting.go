package sysctl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Setting is what one key should be, and why.
//
// If Key is one of net/ipv4/conf/IFACE, Want is about what the interface
// does, which often depends on "all" too (see [Effective]): a wanted
// rp_filter of 2 is there if "all" has 2, whatever the interface's own is.
type Setting struct {
	Key    Key
	Want   Want
	Reason string // one line, for people; may be empty

	// Optional: a kernel or namespace without this key is no error.
	Optional bool
}

// String is "net/ipv4/ip_forward: at least 1".
func (s Setting) String() string { return fmt.Sprintf("%s: %s", s.Key, s.Want) }

// Validate refuses an invalid key (ErrKey) and a wanted value that the kernel
// might take but does not know (ErrRange), such as rp_filter=5.
func (s Setting) Validate() error {
	if err := s.Key.Validate(); err != nil {
		return err
	}
	if s.Want.kind == wantNothing {
		return fmt.Errorf("%w: %s: the zero Want, no value at all, or a range upside down", ErrRange, s.Key)
	}
	return checkLimits(s.Key, s.Want)
}

// Values are settings as the kernel has them, without the line break.
type Values map[Key]string

// Change is one write to the kernel. It marshals to JSON, so that a program
// can keep what it changed and give it to [Client.Restore] later.
type Change struct {
	Key    Key    `json:"key"`
	Old    string `json:"old"`
	New    string `json:"new"`
	Reason string `json:"reason,omitempty"`

	// Resets are the keys to which the kernel gives a new value by itself when
	// this one changes, be it the same value as before. Restore puts these
	// back, too.
	Resets []Reset `json:"resets,omitempty"`
}

// Reset is a key that changes along with another one.
type Reset struct {
	Key Key    `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// String is the command that a person would type, such as
// "sysctl -w net/ipv4/ip_forward=1".
func (c Change) String() string { return "sysctl -w " + quote(c.Key.String()+"="+c.New) }

// quote makes one word of s for a shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/.-_=,:@%+", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// sortedKeys are the keys of v by path.
func sortedKeys(v Values) []Key {
	return slices.SortedFunc(maps.Keys(v), func(a, b Key) int { return strings.Compare(a.path, b.path) })
}
