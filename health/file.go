package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// File looks at a local file: whether it is there, or what number is in it. It is
// how a person, or another program, takes a server out of service, or changes its
// weight, by hand (keepalived: track_file, FILE_CHECK).
//
// What keeps the file from being looked at (no right to search its folder, no
// descriptors), and content that is not one number, is inconclusive: a writer that
// has emptied the file and not yet filled it changes nothing.
type File struct {
	// Path is the file. Symbolic links are followed.
	Path string
	// Test is what makes the probe pass; 0 is FilePresent.
	Test FileTest
	// Weight multiplies the number of a FileNumber; 0 means 1. With -1 the number is
	// what is taken away.
	Weight int
}

// FileTest is what a File asks.
type FileTest uint8

// The zero FileTest is FilePresent. Numbers are decimal, -2147483648 to 2147483647,
// may have a sign, and spaces and line ends around them; a file that is absent
// counts as 0, as for keepalived.
const (
	FilePresent FileTest = iota // passes if the file is there, whatever it is
	FileAbsent                  // passes if it is not: a file named "down" takes a server out
	FileZero                    // passes if its number is 0 (keepalived: weight 0)
	FileNumber                  // passes; Report.Weight adds the number times Weight
)

var fileTests = []string{"present", "absent", "zero", "number"}

// String is the word for the test: "present", "absent", "zero", "number".
func (t FileTest) String() string {
	if int(t) < len(fileTests) {
		return fileTests[t]
	}
	return "FileTest(" + strconv.Itoa(int(t)) + ")"
}

// MarshalText is String for known tests.
func (t FileTest) MarshalText() ([]byte, error) {
	if int(t) >= len(fileTests) {
		return nil, invalid("%v", t)
	}
	return []byte(fileTests[t]), nil
}

// UnmarshalText reads the words of String.
func (t *FileTest) UnmarshalText(text []byte) error {
	for i, word := range fileTests {
		if word == string(text) {
			*t = FileTest(i)
			return nil
		}
	}
	return invalid("test %q: want one of %s", text, strings.Join(fileTests, ", "))
}

// fileMax is how much of a file is read: a number with some space around it.
const fileMax = 128

// Validate tells whether the fields make sense; the file need not be there.
func (f File) Validate() error { return opError("read", f.Path, f.check()) }

func (f File) check() error {
	switch {
	case f.Path == "":
		return invalid("Path is empty")
	case strings.ContainsRune(f.Path, 0):
		return invalid("a path has no zero bytes")
	case int(f.Test) >= len(fileTests):
		return invalid("%v", f.Test)
	case f.Weight != 0 && f.Test != FileNumber:
		return invalid("Weight is for FileNumber, not for %v", f.Test)
	case f.Weight < -maxWeight || f.Weight > maxWeight:
		return invalid("Weight %d: want at most %d either way", f.Weight, maxWeight)
	}
	return nil
}

// Probe looks at the file once.
func (f File) Probe(ctx context.Context) (report Report, err error) {
	if err = f.check(); err != nil {
		err = inconclusive(err)
	} else if err = ctx.Err(); err != nil {
		err = fault(ended(ctx, err))
	} else if f.Test == FilePresent || f.Test == FileAbsent {
		err = f.look()
	} else {
		report, err = f.read()
	}
	return report, opError("read", f.Path, err)
}

func (f File) look() error {
	there, err := fileThere(f.Path)
	switch {
	case err != nil:
		return inconclusive(pathless(err))
	case f.Test == FilePresent && !there:
		return fmt.Errorf("the file is absent: %w", fs.ErrNotExist)
	case f.Test == FileAbsent && there:
		return fmt.Errorf("the file is there: %w", fs.ErrExist)
	}
	return nil
}

func (f File) read() (Report, error) {
	n := 0
	text, err := readFile(f.Path, fileMax+1)
	if text != nil && err == nil {
		n, err = parseNumber(text)
	}
	switch {
	case err != nil:
		return Report{}, inconclusive(pathless(err))
	case f.Test == FileZero && n != 0:
		return Report{}, fmt.Errorf("the file says %d, want 0", n)
	case f.Test == FileZero || n == 0:
		return Report{}, nil
	}
	change := int64(n)
	if f.Weight != 0 {
		change *= int64(f.Weight)
	}
	change = min(max(change, -maxWeight), maxWeight)
	return Report{Weight: Weight{Op: AddWeight, N: int(change)}}, nil
}

// notRegular is that a file is a pipe, a folder, a device.
func notRegular(mode fs.FileMode) error {
	return fmt.Errorf("it is no ordinary file (%v): %w", mode, fs.ErrInvalid)
}

// pathless leaves away the path, which an OpError has.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// parseNumber reads the content of a file, of which at most fileMax+1 bytes are
// given.
func parseNumber(text []byte) (int, error) {
	if len(text) > fileMax {
		return 0, fmt.Errorf("more than %d bytes: %w", fileMax, errNoNumber)
	}
	text = bytes.Trim(text, " \t\r\n\v\f")
	if len(text) == 0 {
		return 0, fmt.Errorf("empty: %w", errNoNumber)
	}
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", excerpt(text), errNoNumber)
	}
	return int(n), nil
}

var errNoNumber = fmt.Errorf("want one number of 32 bits: %w", fs.ErrInvalid)
