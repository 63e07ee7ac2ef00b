package main

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// story has five requests a second, one that is lost, and two events. It is drawn
// ten times a second.
func story(t *testing.T, s *screen, out *strings.Builder, j *journal, c *clock, drawn func(at float64, screen string)) {
	t.Helper()
	s.out, s.journal = out, j
	s.view = func() view { return view{"director1", []string{"web1", "web2", "web3"}} }
	var lost time.Duration
	for i := range 31 {
		c.at(float64(i) / 10)
		switch i {
		case 1:
			j.begin("well", "", "the client begins")
		case 12:
			j.begin("dead", "", "web2 dies")
			lost = j.sent()
		case 22:
			j.done(lost, "", context.DeadlineExceeded)
		}
		if i%2 == 0 {
			j.done(j.sent(), "web1", nil)
		}
		s.draw(c.now, false)
		drawn(c.now.Seconds(), out.String())
	}
	s.draw(c.now, true)
}

var theStory = []string{
	"   0.1  the client begins",
	"     0  director1  web1 web2 web3         5      0  # # # # #",
	"   1.2  web2 dies",
	"     1  director1  web1 web2 web3         5      1  # + # # #",
	"     2  director1  web1 web2 web3         5      0  # # # # #",
	"     3  director1  web1 web2 web3         1      0  #",
}

// squeeze leaves out the slots in which nothing was sent.
func squeeze(lines string) (out []string) {
	for line := range strings.Lines(lines) {
		line = strings.TrimRight(line, "\n ")
		line = regexp.MustCompile(`([#+x?])   `).ReplaceAllString(line, "$1 ")
		out = append(out, line)
	}
	return out
}

func TestPlainLinesAreWrittenOnceAndInOrder(t *testing.T) {
	j, c := newTestJournal()
	var out strings.Builder
	s := &screen{look: func() style { return style{} }}
	story(t, s, &out, j, c, func(at float64, text string) {
		if strings.Contains(text, "\n     1  ") && at < 2.2 {
			t.Errorf("at %v the second row is written, though a request of it is under way:\n%s", at, text)
		}
	})
	same(t, squeeze(out.String()), theStory)
}

func TestATerminalShowsAtOnceWhatIsNotFinal(t *testing.T) {
	j, c := newTestJournal()
	var out strings.Builder
	s := &screen{look: func() style { return style{width: 100} }, live: true}
	drawn := 0
	story(t, s, &out, j, c, func(at float64, text string) {
		shown := strings.Join(squeeze(terminal(t, text)), "\n")
		drawn++
		if at >= 1.2 && !strings.Contains(shown, "web2 dies") {
			t.Errorf("at %v the event is not on the terminal:\n%s", at, shown)
		}
		if pending := at >= 1.2 && at < 2.2; pending != strings.Contains(shown, "?") {
			t.Errorf("at %v, a request under way: %v, but the terminal has\n%s", at, pending, shown)
		}
	})
	same(t, squeeze(terminal(t, out.String())), theStory)
	if drawn != 31 {
		t.Errorf("it was drawn %d times, want 31", drawn)
	}
}

var upAndClear = regexp.MustCompile("^\x1b\\[([0-9]+)A\x1b\\[J")

// terminal is what a terminal shows: it knows how to go up some lines and clear
// what is below, which is all that the timeline asks of it.
func terminal(t *testing.T, text string) string {
	t.Helper()
	var lines []string
	for text != "" {
		if m := upAndClear.FindStringSubmatch(text); m != nil {
			n, _ := strconv.Atoi(m[1])
			lines, text = lines[:len(lines)-n], text[len(m[0]):]
			continue
		}
		line, rest, _ := strings.Cut(text, "\n")
		if strings.Contains(line, "\x1b") {
			t.Fatalf("a sequence within a line: %q", line)
		}
		lines, text = append(lines, line), rest
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestColourAndRedrawAreForTerminalsThatTakeThem(t *testing.T) {
	for _, tt := range []struct {
		name        string
		columns     int
		env         map[string]string
		live, color bool
	}{
		{"a terminal", 80, map[string]string{"TERM": "xterm"}, true, true},
		{"a terminal and NO_COLOR", 80, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, true, false},
		{"a dumb terminal", 80, map[string]string{"TERM": "dumb"}, false, false},
		{"a file", 0, map[string]string{"TERM": "xterm"}, false, false},
	} {
		columns := func() int { return tt.columns }
		live, look := manner(columns, func(name string) string { return tt.env[name] })
		if want := (style{tt.columns, tt.color}); live != tt.live || look() != want {
			t.Errorf("%s: redrawn %v, %+v; want %v, %+v", tt.name, live, look(), tt.live, want)
		}
	}
}
