package vm

import (
	"fmt"
	"io"
)

// A cpioWriter writes an archive in the "newc" format, the one that the kernel
// unpacks as its first root (Documentation/driver-api/early-userspace/
// buffer-format.rst). The first error stays and is returned by Close.
type cpioWriter struct {
	w   io.Writer
	ino int
	err error
}

const (
	cpioDir  = 0o040755
	cpioFile = 0o100755
)

// Dir adds a folder; its parent must have been added before.
func (c *cpioWriter) Dir(name string) { c.entry(name, cpioDir, nil) }

// File adds an executable file.
func (c *cpioWriter) File(name string, data []byte) { c.entry(name, cpioFile, data) }

// Close ends the archive.
func (c *cpioWriter) Close() error {
	c.ino = -1
	c.entry("TRAILER!!!", 0, nil)
	return c.err
}

// entry writes the 110 bytes of the header, the name and the data, each of the
// last two padded to a multiple of four. Times and owners are zero, so that the
// same content gives the same archive.
func (c *cpioWriter) entry(name string, mode uint32, data []byte) {
	c.ino++
	links := 1
	if mode == cpioDir {
		links = 2
	}
	const header = 110
	c.printf("070701%08x%08x%08x%08x%08x%08x%08x", c.ino, mode, 0, 0, links, 0, len(data))
	c.printf("%08x%08x%08x%08x%08x%08x", 0, 0, 0, 0, len(name)+1, 0)
	c.printf("%s\x00%s", name, zeros(header+len(name)+1))
	c.printf("%s%s", data, zeros(len(data)))
}

func (c *cpioWriter) printf(format string, args ...any) {
	if c.err == nil {
		_, c.err = fmt.Fprintf(c.w, format, args...)
	}
}

// zeros is what pads n bytes to a multiple of four.
func zeros(n int) string { return "\x00\x00\x00"[:(4-n%4)%4] }
