package ipvs

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// maxLine is the longest line of rules, that of ipvsadm.
const maxLine = 4096

// defaultTimeout is the persistence of option -p without a value.
const defaultTimeout = 300 * time.Second

// Parse reads rules as `ipvsadm -S -n` writes them and `ipvsadm -R` reads them,
// and returns the services that they make in an empty table, in normal form and
// in the order of the rules. What ipvsadm reads is understood as ipvsadm
// understands it: long and short options, defaults, -E, -D, -e, -d and -C, a
// leading "ipvsadm". So the lines of Change.String are read as well. Lines that
// begin with # are comments.
//
// Rules must be numeric: host and port names are refused, as their meaning lies
// with another machine's resolver. So are the commands that make no service
// (listings, timeouts, the sync daemon), masks with holes, and whatever Validate
// refuses. The error is an *OpError whose Object is the line, as in "line 7".
func Parse(r io.Reader) ([]Service, error) {
	var t ruleTable
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, maxLine), maxLine)
	line := 0
	for in.Scan() {
		line++
		if err := t.run(in.Text()); err != nil {
			return nil, lineError(line, err)
		}
	}
	switch err := in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, lineError(line+1, invalidf("longer than %d bytes", maxLine))
	case err != nil:
		return nil, lineError(line+1, err)
	}
	return t.services(), nil
}

func lineError(line int, err error) error {
	return &OpError{Op: "parse", Object: "line " + strconv.Itoa(line), Err: err}
}

// rule is one line: a command and its options.
type rule struct {
	command *option
	values  map[*option]string // of the options that are there
}

// parseRule splits a line. A line without a rule has no command.
func parseRule(line string) (rule, error) {
	words := strings.Fields(line)
	for i, w := range words {
		if w[0] == '#' {
			words = words[:i]
			break
		}
	}
	if len(words) > 0 && words[0] == "ipvsadm" {
		words = words[1:]
	}
	r := rule{values: make(map[*option]string, 8)}
	for len(words) > 0 {
		var err error
		if words, err = r.word(words); err != nil {
			return rule{}, err
		}
	}
	if r.command == nil {
		if len(r.values) > 0 {
			return rule{}, invalid("no command: begin the line with -A or -a")
		}
		return r, nil
	}
	for o := range r.values {
		if !strings.Contains(o.commands, r.command.short) {
			return rule{}, invalidf("option %s does not go with %s", o, r.command)
		}
	}
	return r, nil
}

// word takes an option with its value, or a cluster of short options, from the
// words and returns the others.
func (r *rule) word(words []string) ([]string, error) {
	w, rest := words[0], words[1:]
	switch {
	case strings.HasPrefix(w, "--"):
		name, value, attached := strings.Cut(w[2:], "=")
		o := optionByLong(name)
		if o == nil {
			return nil, invalidf("option %q makes no rule", w)
		}
		return r.option(o, value, attached, rest)
	case len(w) > 1 && w[0] == '-':
		for w = w[1:]; w != ""; {
			o := optionByShort(w[:1])
			if o == nil {
				return nil, invalidf("option %q makes no rule", words[0])
			}
			w = w[1:]
			if o.takes != nothing {
				return r.option(o, strings.TrimPrefix(w, "="), w != "", rest)
			}
			var err error
			if rest, err = r.option(o, "", false, rest); err != nil {
				return nil, err
			}
		}
		return rest, nil
	}
	return nil, invalidf("unexpected word %q", w)
}

// option enters an option, with the value attached to it or, where it takes
// one, the next word.
func (r *rule) option(o *option, value string, attached bool, rest []string) ([]string, error) {
	switch {
	case o.takes == nothing && attached:
		return nil, invalidf("option %s takes no value", o)
	case o.takes == aValue && !attached:
		if len(rest) == 0 {
			return nil, invalidf("option %s needs a value", o)
		}
		value, rest = rest[0], rest[1:]
	case o.takes == optionalValue && !attached && len(rest) > 0 && rest[0][0] != '-':
		value, rest = rest[0], rest[1:]
	}
	if o.commands == "" {
		if r.command != nil {
			return nil, invalidf("two commands, %s and %s: give each its line", r.command, o)
		}
		r.command = o
		return rest, nil
	}
	if _, ok := r.values[o]; ok {
		return nil, invalidf("option %s is there twice", o)
	}
	r.values[o] = value
	return rest, nil
}

// parseEndpoint reads address:port, [address]:port or address, whose port is
// then the one given.
func parseEndpoint(s string, port uint16) (netip.AddrPort, error) {
	host, portName, hasPort := s, "", false
	bracketed := strings.HasPrefix(s, "[")
	if bracketed {
		end := strings.IndexByte(s, ']')
		if end < 0 || end+1 < len(s) && s[end+1] != ':' {
			return netip.AddrPort{}, invalidf("%q is no address: write [address]:port", s)
		}
		host = s[1:end]
		if hasPort = end+1 < len(s); hasPort {
			portName = s[end+2:]
		}
	} else if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.IndexByte(s, ':') == i {
		host, portName, hasPort = s[:i], s[i+1:], true
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return netip.AddrPort{}, invalidf("%q is no address: rules must be numeric, as ipvsadm -S -n writes them", host)
	case addr.Is4In6():
		return netip.AddrPort{}, invalidf("%s is an IPv4 address in IPv6 form: write %s", addr, addr.Unmap())
	case bracketed && !addr.Is6():
		return netip.AddrPort{}, invalidf("%q: brackets are for IPv6 addresses", s)
	}
	if hasPort {
		n, err := strconv.ParseUint(portName, 10, 16)
		if err != nil {
			return netip.AddrPort{}, invalidf("%q is no port: rules must be numeric, as ipvsadm -S -n writes them", portName)
		}
		port = uint16(n)
	}
	return netip.AddrPortFrom(addr, port), nil
}

// parseNumber reads a decimal number from low to high.
func parseNumber(what, s string, low, high uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n < low || n > high {
		return 0, invalidf("%s %q: use a number from %d to %d", what, s, low, high)
	}
	return n, nil
}
