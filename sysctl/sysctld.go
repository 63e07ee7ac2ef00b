package sysctl

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// maxLine is the longest line that Parse reads, in bytes.
const maxLine = 64 << 10

// Format makes the content of a file of /etc/sysctl.d, which sets at the next
// boot what [Client.Apply] sets now: slash form, each setting after its reason
// as a comment, Optional ones with the "-" that ignores errors. What is written
// is [Want.Value]; mind that such a file does not know "at least", and sets
// that value over a larger one. Its errors are those of [Merge].
func Format(want []Setting) ([]byte, error) {
	want, err := merge(want)
	if err != nil {
		return nil, opError("format", err)
	}
	var b bytes.Buffer
	for i, s := range want {
		if strings.ContainsAny(s.Key.path, `*?[\=`) || strings.ContainsAny(s.Key.path[:1], "-#;") {
			return nil, opError("format", fmt.Errorf("%w %q: a file of sysctl.d takes it for something else", ErrKey, s.Key))
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		l := Line{Key: s.Key, Value: s.Want.Value(), IgnoreErrors: s.Optional, Comment: s.Reason}
		b.WriteString(l.String() + "\n")
	}
	return b.Bytes(), nil
}

// Line is one assignment of a file of /etc/sysctl.d (sysctl.d(5)).
type Line struct {
	Number int // counted from 1

	// Key is the setting. It is the zero Key if Pattern is set.
	Key Key
	// Pattern is a key with shell wildcards, in slash form, for all keys that
	// match it and have no line of their own.
	Pattern string
	// Value is what follows the "=", without the space around it.
	Value string
	// IgnoreErrors is the "-" before the key.
	IgnoreErrors bool
	// Exclude is a line "-key" without "=": patterns do not apply to that key.
	Exclude bool
	// Comment is the text of the comment lines right above, one a line.
	Comment string
}

// String is the line as [Format] writes it, after its comment.
func (l Line) String() string {
	var b strings.Builder
	if l.Comment != "" {
		for c := range strings.SplitSeq(l.Comment, "\n") {
			b.WriteString(strings.TrimRight("# "+strings.Trim(c, blank), " ") + "\n")
		}
	}
	if l.IgnoreErrors || l.Exclude {
		b.WriteByte('-')
	}
	b.WriteString(l.Key.path + l.Pattern)
	if !l.Exclude {
		b.WriteString(strings.TrimRight(" = "+l.Value, " "))
	}
	return b.String()
}

// blank is what may stand around words in such a file.
const blank = " \t\r\v\f"

// Parse reads a file of /etc/sysctl.d or /etc/sysctl.conf: keys in slash or
// dotted form (in the dotted one a slash stands for a dot, as in
// net.ipv4.conf.eth0/100.rp_filter), comments after "#" or ";", lines that end
// in CR LF. The first line that cannot be understood ends it with an error
// that names its number and matches fs.ErrInvalid.
func Parse(r io.Reader) ([]Line, error) {
	var lines []Line
	var comment []string
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	number := 0
	for scanner.Scan() {
		number++
		text := strings.Trim(scanner.Text(), blank)
		if text == "" {
			comment = nil
			continue
		}
		if text[0] == '#' || text[0] == ';' {
			comment = append(comment, strings.Trim(text[1:], blank))
			continue
		}
		l, err := parseLine(text)
		if err != nil {
			return nil, &OpError{Op: "parse", Object: "line " + strconv.Itoa(number), Err: err}
		}
		l.Number = number
		l.Comment = strings.Join(comment, "\n")
		lines = append(lines, l)
		comment = nil
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("%w: longer than %d bytes", fs.ErrInvalid, maxLine)
		return nil, &OpError{Op: "parse", Object: "line " + strconv.Itoa(number+1), Err: err}
	} else if err != nil {
		return nil, &OpError{Op: "parse", Err: err}
	}
	return lines, nil
}

func parseLine(text string) (Line, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return Line{}, fmt.Errorf("%w: a control character", fs.ErrInvalid)
	}
	var l Line
	key, value, assigns := strings.Cut(text, "=")
	key, minus := strings.CutPrefix(strings.Trim(key, blank), "-")
	switch {
	case assigns:
		l.IgnoreErrors = minus
		l.Value = strings.Trim(value, blank)
	case minus:
		l.Exclude = true
	default:
		return Line{}, fmt.Errorf(`%w: %q has no "="`, fs.ErrInvalid, text)
	}
	k, err := ParseKey(slashed(strings.Trim(key, blank)))
	if err != nil {
		return Line{}, err
	}
	if !strings.ContainsAny(k.path, `*?[\`) {
		l.Key = k
		return l, nil
	}
	if _, err := path.Match(k.path, ""); err != nil {
		return Line{}, fmt.Errorf("%w: %q: %w", fs.ErrInvalid, k.path, err)
	}
	l.Pattern = k.path
	return l, nil
}

// slashed turns the dotted form into the slash form. The first separator tells
// which one it is.
func slashed(key string) string {
	i := strings.IndexAny(key, "./")
	if i < 0 || key[i] == '/' {
		return key
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, key)
}
