package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// picture is the cluster, with an explanation where there is room.
func picture(plane dataplane, width int) string {
	lines := [...][2]string{
		{"  client .134 --+-- .131 director1", "the virtual address .188 is at one of these,"},
		{"                +-- .132 director2", "who hands each connection to a web server;"},
		{"                +-- .135 web1", plane.answers},
		{"                +-- .136 web2", "All are on this machine, in networks of"},
		{"                +-- .137 web3", "their own, 192.168.247.0/24."},
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, l := range lines {
		if width > 0 && width < 80 {
			b.WriteString(l[0] + "\n")
		} else {
			fmt.Fprintf(&b, "%-36s%s\n", l[0], l[1])
		}
	}
	b.WriteString("\n")
	for _, line := range wrap(fmt.Sprintf("Dataplane %s: %s.", plane.name, plane.why), cmp.Or(width, widthOfWords)) {
		b.WriteString(line + "\n")
	}
	return b.String() + "\n"
}

// row is a second of the timeline.
type row struct {
	second int
	view
	slots [slotsPerSecond]slot
	whole bool // all its requests have ended
}

// style is how the timeline is drawn.
type style struct {
	width int // columns of the terminal, 0: as many as it takes
	color bool
}

// Below these widths the timeline has no bar, and the pool is a number only.
const (
	widthOfAll     = 77
	widthOfNumbers = 55
)

// The colours of the timeline (ECMA-48, SGR).
const (
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

func (s style) paint(code, text string) string {
	if !s.color || code == "" || text == "" {
		return text
	}
	return code + text + plain
}

func (s style) bar() bool   { return s.width == 0 || s.width >= widthOfAll }
func (s style) names() bool { return s.width == 0 || s.width >= widthOfNumbers }

// head is the line above the rows.
func (s style) head() string {
	switch {
	case s.bar():
		return s.paint(dim, fmt.Sprintf("%6s  %-9s  %-*s  %8s %6s  %s", "second", "active", poolWidth, "pool", "answered", "lost", "# answered + some lost x lost"))
	case s.names():
		return s.paint(dim, fmt.Sprintf("%6s  %-9s  %-*s  %8s %6s", "second", "active", poolWidth, "pool", "answered", "lost"))
	}
	return s.paint(dim, "second, active, pool, answered, lost")
}

// poolWidth is the width of all names.
var poolWidth = len(strings.Join(poolNames(nil), " "))

// poolNames has each web server at its place: the name of one that gets requests, or
// dots.
func poolNames(pool []string) (names []string) {
	for _, w := range webs {
		if slices.Contains(pool, w.name) {
			names = append(names, w.name)
		} else {
			names = append(names, strings.Repeat(".", len(w.name)))
		}
	}
	return names
}

// row is one line.
func (s style) row(r row) string {
	answered, failed := 0, 0
	for _, sl := range r.slots {
		answered += sl.answered
		failed += sl.failed
	}
	active := fmt.Sprintf("%-9s", orNobody(r.active))
	if r.active == "" {
		active = s.paint(red, active)
	}
	lost := fmt.Sprintf("%6d", failed)
	if failed > 0 {
		lost = s.paint(red, lost)
	}
	if !s.names() {
		return fmt.Sprintf("%4d %s %d/%d %4d %s", r.second, active, len(r.pool), len(webs), answered, strings.Replace(lost, "  ", "", 1))
	}
	line := fmt.Sprintf("%6d  %s  %s  %8d %s", r.second, active, strings.Join(poolNames(r.pool), " "), answered, lost)
	if s.bar() {
		line += "  " + s.slots(r.slots)
	}
	return line
}

// slots draws a second from left to right.
func (s style) slots(slots [slotsPerSecond]slot) string {
	var b strings.Builder
	for i := 0; i < len(slots); {
		mark, color := slots[i].mark()
		n := 1
		for i+n < len(slots) && sameMark(slots[i+n], mark) {
			n++
		}
		b.WriteString(s.paint(color, strings.Repeat(mark, n)))
		i += n
	}
	return b.String()
}

// mark is how a slot is drawn.
func (s slot) mark() (mark, color string) {
	switch {
	case s.failed > 0 && s.answered > 0:
		return "+", yellow
	case s.failed > 0:
		return "x", red
	case s.pending() > 0:
		return "?", dim
	case s.answered > 0:
		return "#", green
	}
	return " ", ""
}

func sameMark(s slot, mark string) bool {
	m, _ := s.mark()
	return m == mark
}

// event is what was done or seen, in as many lines as it takes.
func (s style) event(e event) []string {
	at := fmt.Sprintf("%6.1f  ", e.at.Truncate(100*time.Millisecond).Seconds())
	lines := wrap(e.text, s.width-len(at))
	for i := range lines {
		if i > 0 {
			at = strings.Repeat(" ", len(at))
		}
		lines[i] = s.paint(bold, at+lines[i])
	}
	return lines
}

// wrap breaks a text between words into lines of at most width columns, or of
// one word where that is longer; below 16 columns it is left as it is.
func wrap(text string, width int) (lines []string) {
	if width < 16 {
		return []string{text}
	}
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

func orNobody(active string) string {
	if active == "" {
		return "nobody"
	}
	return active
}

// short is a duration for people.
func short(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
