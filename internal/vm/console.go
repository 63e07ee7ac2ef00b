package vm

import (
	"regexp"
	"strings"
	"sync"
)

// consoleKept is how much of the console's end is kept, in bytes.
const consoleKept = 64 << 10

// A console keeps the last of what a machine says.
type console struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

// Write keeps b; it never fails.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = append(c.buf, b...)
	if len(c.buf) > 2*consoleKept {
		c.buf = append(c.buf[:0], c.buf[len(c.buf)-consoleKept:]...)
	}
	return len(b), nil
}

// control is what a terminal would obey and not print.
var control = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]|\x1b[c()][A-Z0-9]?|\r")

// Tail is the last n lines, as plain text.
func (c *console) Tail(n int) string {
	c.mu.Lock()
	text := control.ReplaceAllString(string(c.buf), "")
	c.mu.Unlock()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
