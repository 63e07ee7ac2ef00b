package userspace

import "bytes"

// callIDMost is the longest Call-ID that persistence goes by, in bytes
// (IP_VS_PEDATA_MAXLEN).
const callIDMost = 255

// callID is the Call-ID of a SIP message (RFC 3261, section 20.8), read as the
// kernel's persistence engine does (net/netfilter/ipvs/ip_vs_pe_sip.c and
// nf_conntrack_sip.c, ct_sip_get_header): the first header of that name or its
// short form "i" that has a value. It is empty if there is none, or if it is
// too long.
func callID(message []byte) string {
	for {
		end := bytes.IndexAny(message, "\r\n")
		if end < 0 {
			return ""
		}
		message = bytes.TrimPrefix(message[end:], []byte("\r"))
		message = bytes.TrimPrefix(message, []byte("\n"))
		value, ok := headerValue(message)
		if !ok {
			continue
		}
		if n := callIDLen(value); n > 0 {
			if n > callIDMost {
				return ""
			}
			return string(value[:n])
		}
	}
}

// headerValue is what follows the name in a line that begins with Call-ID.
func headerValue(line []byte) ([]byte, bool) {
	const name, short = "Call-ID", "i"
	switch {
	case len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name)):
		line = line[len(name):]
	case len(line) > len(short) && bytes.EqualFold(line[:len(short)], []byte(short)) && !isLetter(line[len(short)]):
		line = line[len(short):]
	default:
		return nil, false
	}
	line, ok := bytes.CutPrefix(bytes.TrimLeft(line, " "), []byte(":"))
	return bytes.TrimLeft(line, " "), ok
}

// callIDLen is the length of the Call-ID in front: word [ "@" word ].
func callIDLen(b []byte) int {
	n := wordLen(b)
	if n == 0 || n == len(b) || b[n] != '@' {
		return n
	}
	domain := wordLen(b[n+1:])
	if domain == 0 {
		return 0
	}
	return n + 1 + domain
}

func wordLen(b []byte) int {
	for i, c := range b {
		if !isLetter(c) && (c < '0' || c > '9') && bytes.IndexByte([]byte("-.!%*_+`'~()<>:\\\"/[]?{}"), c) < 0 {
			return i
		}
	}
	return len(b)
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
