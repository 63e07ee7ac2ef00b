package health

import (
	"bufio"
	"errors"
	"fmt"
)

// Bounds of replies. RFC 5321, section 4.5.3.1.5, has 512 bytes for a line, and servers
// that send more.
const (
	maxReplyLine  = 2048
	maxReplyLines = 100
)

// smtpReply is a reply to a command (RFC 5321, section 4.2).
type smtpReply struct {
	code  int      // 200 to 599
	lines []string // without codes
}

// readReply reads a reply of one or more lines: 250-first, 250 last. The buffer of in
// is the bound of a line.
func readReply(in *bufio.Reader) (smtpReply, error) {
	var reply smtpReply
	for range maxReplyLines {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return smtpReply{}, fmt.Errorf("a line of the reply has more than %d bytes: %s", in.Size(), excerpt(line))
		case err != nil:
			return smtpReply{}, unexpected(err)
		}
		code, text, last, ok := replyLine(line)
		if !ok || reply.code != 0 && code != reply.code {
			return smtpReply{}, fmt.Errorf("the server does not speak SMTP: it sent %s", excerpt(line))
		}
		reply.code = code
		reply.lines = append(reply.lines, text)
		if last {
			return reply, nil
		}
	}
	return smtpReply{}, fmt.Errorf("the reply has more than %d lines", maxReplyLines)
}

// replyLine takes a line apart: a code of three digits, then a hyphen if more follow,
// or a space, or the end. A line feed alone ends it, too.
func replyLine(line []byte) (code int, text string, last, ok bool) {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, "", false, false
	}
	for _, digit := range line[:3] {
		if digit < '0' || digit > '9' {
			return 0, "", false, false
		}
		code = 10*code + int(digit-'0')
	}
	if len(line) == 3 {
		return code, "", true, true
	}
	return code, string(line[4:]), line[3] == ' ', line[3] == ' ' || line[3] == '-'
}

// want is nil if a reply has come and has the code.
func (r smtpReply) want(code int, err error) error {
	if err == nil && r.code != code {
		return fmt.Errorf("the server answers %d %s, want %d", r.code, excerpt(r.lines[len(r.lines)-1]), code)
	}
	return err
}
