package vm

import (
	"fmt"
	"strings"
	"testing"
)

func TestConsoleKeepsTheLastLinesAsPlainText(t *testing.T) {
	var c console
	fmt.Fprint(&c, "\x1bc\x1b[?7l\x1b[2JSeaBIOS\r\n")
	fmt.Fprint(&c, "one\r\ntwo\r\n\x1b[31mthree\x1b[0m\r\n")
	if got := c.Tail(2); got != "two\nthree" {
		t.Errorf("got %q", got)
	}
	if got := c.Tail(10); got != "SeaBIOS\none\ntwo\nthree" {
		t.Errorf("got %q", got)
	}
}

func TestConsoleForgetsTheBegin(t *testing.T) {
	var c console
	for i := range 20 {
		fmt.Fprintf(&c, "%d%s\n", i, strings.Repeat("x", consoleKept/4))
	}
	if len(c.buf) > 2*consoleKept {
		t.Errorf("it keeps %d bytes", len(c.buf))
	}
	if got := c.Tail(1); !strings.HasPrefix(got, "19x") {
		t.Errorf("the last line is %.10q", got)
	}
}
