package userspace

import (
	"strings"
	"testing"
)

func TestCallID(t *testing.T) {
	long := strings.Repeat("a", callIDMost)
	for _, test := range []struct{ name, message, want string }{
		{"a header", "INVITE sip:bob@example.com SIP/2.0\r\nVia: x\r\nCall-ID: a84b4c76@pc33.example.com\r\nCSeq: 1 INVITE\r\n\r\n", "a84b4c76@pc33.example.com"},
		{"its short form", "INVITE sip:bob SIP/2.0\r\ni: a84b\r\n\r\n", "a84b"},
		{"in any case, with spaces around the colon", "BYE sip:bob SIP/2.0\r\ncall-id   :  x@y\r\n", "x@y"},
		{"lines that end with a newline only", "BYE sip:bob SIP/2.0\nCall-ID: x\n", "x"},
		{"at the end of the message", "BYE sip:bob SIP/2.0\r\nCall-ID: x@y", "x@y"},
		{"another header that begins with i is none", "BYE sip:bob SIP/2.0\r\nIdentity: q\r\nCall-ID: x\r\n", "x"},
		{"the first line is no header", "Call-ID: x\r\n\r\n", ""},
		{"a continued line is no header", "BYE sip:bob SIP/2.0\r\nSubject: a\r\n Call-ID: x\r\n", ""},
		{"an empty one is passed over", "BYE sip:bob SIP/2.0\r\nCall-ID:\r\ni: y\r\n", "y"},
		{"half a one is none", "BYE sip:bob SIP/2.0\r\nCall-ID: x@\r\n", ""},
		{"as long as may be", "BYE sip:bob SIP/2.0\r\ni:" + long + "\r\n", long},
		{"too long", "BYE sip:bob SIP/2.0\r\ni:" + long + "a\r\n", ""},
		{"no SIP", "\x00\x01\x02", ""},
		{"nothing", "", ""},
	} {
		if got := callID([]byte(test.message)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func FuzzCallID(f *testing.F) {
	f.Add([]byte("BYE sip:bob SIP/2.0\r\nCall-ID: x@y\r\n"))
	f.Add([]byte("\r\ni:\r\n\r"))
	f.Fuzz(func(t *testing.T, message []byte) {
		id := callID(message)
		if len(id) > callIDMost || !strings.Contains(string(message), id) {
			t.Errorf("%q has no Call-ID %q", message, id)
		}
	})
}
