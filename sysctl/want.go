package sysctl

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Want says which values of a setting are right. Make one with [Exactly],
// [OneOf], [AtLeast], [AtMost], [Between], [Text] or [Reserved]; the zero Want
// is invalid.
type Want struct {
	kind     wantKind
	set      []int64 // wantNumber: these alone, the preferred first; nil: any
	min, max int64   // wantNumber: bounds, both included
	text     string  // wantText
	ports    []PortRange
}

type wantKind uint8

const (
	wantNothing wantKind = iota
	wantNumber
	wantText
	wantPorts
)

// Exactly wants the number n.
func Exactly(n int64) Want { return OneOf(n) }

// OneOf wants one of these numbers; if the present one is none of them, the
// first that serves is written. No numbers make an invalid Want.
func OneOf(n ...int64) Want {
	if len(n) == 0 {
		return Want{}
	}
	return Want{kind: wantNumber, set: slices.Clone(n), min: math.MinInt64, max: math.MaxInt64}
}

// AtLeast wants the number n or a larger one; n is written if it is smaller.
func AtLeast(n int64) Want { return Between(n, math.MaxInt64) }

// AtMost wants the number n or a smaller one; n is written if it is larger.
func AtMost(n int64) Want { return Between(math.MinInt64, n) }

// Between wants a number from low to high, both included; the nearer of the
// two is written if it is outside. low above high makes an invalid Want.
func Between(low, high int64) Want {
	if low > high {
		return Want{}
	}
	return Want{kind: wantNumber, min: low, max: high}
}

// Text wants a value that has the same fields, as in Text("32768 60999"):
// the kernel separates with tabs what a person separates with spaces. A line
// break is a separator like any other.
func Text(s string) Want { return Want{kind: wantText, text: normal(s)} }

// Reserved wants all ports of these ranges in the list of
// net/ipv4/ip_local_reserved_ports. What else the list has stays.
// No ranges, or one with First above Last, make an invalid Want.
func Reserved(ranges ...PortRange) Want {
	for _, r := range ranges {
		if r.First > r.Last {
			return Want{}
		}
	}
	if len(ranges) == 0 {
		return Want{}
	}
	return Want{kind: wantPorts, ports: joinPorts(ranges)}
}

// Allows tells whether a value, as read from the kernel, is right.
func (w Want) Allows(value string) bool {
	switch w.kind {
	case wantNumber:
		n, err := strconv.ParseInt(normal(value), 10, 64)
		return err == nil && w.has(n)
	case wantText:
		return normal(value) == w.text
	case wantPorts:
		have, err := parsePorts(normal(value))
		return err == nil && slices.Equal(joinPorts(slices.Concat(have, w.ports)), have)
	}
	return false
}

// Value is what to write on a machine of which nothing is known: the number
// preferred, the bound, the text, the list.
func (w Want) Value() string {
	if c := w.candidates(""); len(c) > 0 {
		return c[0]
	}
	return ""
}

// String is "1", "2 or 0", "at least 4096", "at most 2", "1 to 5", the text in
// quotes, or "with 8000-8080 in it".
func (w Want) String() string {
	switch w.kind {
	case wantNumber:
		return w.numberString()
	case wantText:
		return strconv.Quote(w.text)
	case wantPorts:
		return "with " + formatPorts(w.ports) + " in it"
	}
	return "invalid"
}

func (w Want) numberString() string {
	switch {
	case w.set != nil:
		return strings.Join(numbers(w.set), " or ")
	case w.min == math.MinInt64:
		return fmt.Sprintf("at most %d", w.max)
	case w.max == math.MaxInt64:
		return fmt.Sprintf("at least %d", w.min)
	}
	return fmt.Sprintf("%d to %d", w.min, w.max)
}

func (w Want) has(n int64) bool {
	return n >= w.min && n <= w.max && (w.set == nil || slices.Contains(w.set, n))
}

// candidates are the values to write instead of the present one, best first.
func (w Want) candidates(present string) []string {
	switch w.kind {
	case wantNumber:
		if w.set != nil {
			return numbers(w.set)
		}
		n, err := strconv.ParseInt(normal(present), 10, 64)
		if w.min != math.MinInt64 && (err != nil || n < w.min || w.max == math.MaxInt64) {
			return numbers([]int64{w.min})
		}
		return numbers([]int64{w.max})
	case wantText:
		return []string{w.text}
	case wantPorts:
		have, err := parsePorts(normal(present))
		if err != nil {
			have = nil
		}
		return []string{formatPorts(joinPorts(slices.Concat(have, w.ports)))}
	}
	return nil
}

// and is the Want that both allow; false if there is none.
func (w Want) and(o Want) (Want, bool) {
	switch {
	case w.kind == wantText && o.kind != wantPorts:
		return w, o.Allows(w.text)
	case o.kind == wantText && w.kind != wantPorts:
		return o, w.Allows(o.text)
	case w.kind != o.kind || w.kind == wantNothing:
		return Want{}, false
	case w.kind == wantPorts:
		return Reserved(slices.Concat(w.ports, o.ports)...), true
	}
	r := Want{kind: wantNumber, set: w.set, min: max(w.min, o.min), max: min(w.max, o.max)}
	if r.set == nil {
		r.set = o.set
	}
	if r.set != nil {
		r.set = slices.DeleteFunc(slices.Clone(r.set), func(n int64) bool { return !w.has(n) || !o.has(n) })
		return r, len(r.set) > 0
	}
	return r, r.min <= r.max
}

// normal is a value with single spaces between its fields.
func normal(value string) string { return strings.Join(strings.Fields(value), " ") }

func numbers(n []int64) []string {
	s := make([]string, len(n))
	for i := range n {
		s[i] = strconv.FormatInt(n[i], 10)
	}
	return s
}
