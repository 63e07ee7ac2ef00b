package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// redraw is how often the timeline is drawn on a terminal.
const redraw = 100 * time.Millisecond

// screen draws the timeline. A row is final when all the requests of its second
// have ended, which may take the timeout of a request. On a terminal rows that
// are not final are there too, and change; elsewhere each line is written once.
type screen struct {
	out     io.Writer
	look    func() style // at the terminal, whose width may change
	live    bool         // it is a terminal that can go back
	journal *journal
	view    func() view

	rows   []row   // that are not final
	events []event // that are not written
	second int     // of the next row
	drawn  int     // lines on the terminal that are not final
}

func newScreen(out *os.File, j *journal, now func() view) *screen {
	s := &screen{out: out, journal: j, view: now}
	columns := func() int { return width(out) }
	s.live, s.look = manner(columns, os.Getenv)
	return s
}

// manner is how to draw on what has so many columns (0: no terminal).
func manner(columns func() int, getenv func(string) string) (live bool, look func() style) {
	live = columns() > 0 && getenv("TERM") != "dumb"
	color := live && getenv("NO_COLOR") == "" // no-color.org
	return live, func() style { return style{width: columns(), color: color} }
}

// run draws until ctx ends, and then what is left.
func (s *screen) run(ctx context.Context) {
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	fmt.Fprintln(s.out, s.look().head())
	for {
		select {
		case <-ctx.Done():
			s.draw(s.journal.clock(), true)
			return
		case <-tick.C:
			s.draw(s.journal.clock(), false)
		}
	}
}

// draw writes what is final, and on a terminal what is not. In the end all is.
func (s *screen) draw(now time.Duration, end bool) {
	s.update(now)
	look := s.look()
	final, rest := s.lines(look, end)
	var b strings.Builder
	if s.live && s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", s.drawn) // up, and clear what is below
	}
	for _, line := range final {
		b.WriteString(line + "\n")
	}
	if s.drawn = 0; s.live {
		for _, line := range rest {
			b.WriteString(line + "\n")
		}
		s.drawn = len(rest)
	}
	_, _ = io.WriteString(s.out, b.String()) // who does not read it does not want it
}

// update takes in what has happened until now.
func (s *screen) update(now time.Duration) {
	s.events = append(s.events, s.journal.takeEvents()...)
	current, view := int(now/time.Second), s.view()
	for ; s.second <= current; s.second++ {
		s.rows = append(s.rows, row{second: s.second, view: view})
	}
	for i := range s.rows {
		r := &s.rows[i]
		if r.second == current {
			r.view = view
		}
		if !r.whole {
			r.slots, r.whole = s.journal.takeSlots(r.second)
		}
	}
}

// lines are the lines that are final from now on, and those that are not. An
// event comes before the row of its second.
func (s *screen) lines(look style, end bool) (final, rest []string) {
	for len(s.rows) > 0 && (s.rows[0].whole || end) {
		final = append(final, s.eventsUntil(look, s.rows[0].second)...)
		final = append(final, look.row(s.rows[0]))
		s.rows = s.rows[1:]
	}
	if end {
		return append(final, s.eventsUntil(look, s.second)...), nil
	}
	kept := s.events
	for _, r := range s.rows {
		rest = append(rest, s.eventsUntil(look, r.second)...)
		rest = append(rest, look.row(r))
	}
	s.events = kept
	return final, rest
}

// eventsUntil takes out the events up to the end of a second.
func (s *screen) eventsUntil(look style, second int) (lines []string) {
	for len(s.events) > 0 && int(s.events[0].at/time.Second) <= second {
		lines = append(lines, look.event(s.events[0])...)
		s.events = s.events[1:]
	}
	return lines
}
