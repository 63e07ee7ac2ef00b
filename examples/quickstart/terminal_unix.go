//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// width is how many columns a terminal has; 0 if the file is none.
func width(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	switch {
	case err != nil:
		return 0
	case size.Col == 0: // a terminal that does not know, as a serial line
		return 80
	}
	return int(size.Col)
}
