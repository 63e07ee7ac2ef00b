package health

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// dialogue is a mail server that sends its replies one after another, the first as a
// greeting, the others after a line of the client each. An empty one ends it; TLS
// begins where one begins with "220 go ahead", and after one that begins with "!".
func dialogue(config *tls.Config, replies ...string) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		for i, reply := range replies {
			if i > 0 {
				if _, err := in.ReadString('\n'); err != nil {
					return
				}
			}
			if reply == "" {
				return
			}
			if _, err := io.WriteString(c, reply); err != nil {
				return
			}
			if strings.HasPrefix(reply, "220 go ahead") {
				c = tls.Server(c, config)
				in = bufio.NewReader(c)
			}
		}
		_, _ = io.Copy(io.Discard, in)
	}
}

func TestSMTP(t *testing.T) {
	n := newNotary(t)
	ends := second(time.Now().Add(30 * day))
	config := &tls.Config{Certificates: []tls.Certificate{n.server(ends, "mail.example")}}
	trust := &tls.Config{RootCAs: n.roots, ServerName: "mail.example"}
	const hi, ok, tlsOK, bye = "220 mail.example ESMTP\r\n", "250 hello\r\n", "250-hello\r\n250-SIZE 1000\r\n250 starttls\r\n", "221 bye\r\n"
	late := verdict{"no answer in time", context.DeadlineExceeded}
	tests := []struct {
		name   string
		server func(net.Conn)
		probe  SMTP
		want   verdict
	}{
		{"a server in order", dialogue(nil, hi, ok, bye), SMTP{}, verdict{}},
		{"replies of many lines", dialogue(nil, "220-mail.example\r\n220-no spam\r\n220 ESMTP\r\n", "250-hello\r\n250 SIZE\r\n", "221-good\r\n221 bye\r\n"), SMTP{}, verdict{}},
		{"replies without text, and line feeds alone", dialogue(nil, "220\n", "250\n", "221\n"), SMTP{}, verdict{}},
		{"a server without EHLO", dialogue(nil, hi, "502 what?\r\n", ok, bye), SMTP{}, verdict{}},
		{"a server with neither", dialogue(nil, hi, "500 what?\r\n", "500 what?\r\n"), SMTP{}, verdict{`EHLO`, nil}},
		{"a greeting that refuses", dialogue(nil, "554 go away\r\n"), SMTP{}, verdict{`the server answers 554 "go away", want 220`, nil}},
		{"it is busy", dialogue(nil, "421 busy\r\n", ""), SMTP{}, verdict{`greeting`, nil}},
		{"EHLO is refused", dialogue(nil, hi, "550 no\r\n"), SMTP{}, verdict{`550 "no", want 250`, nil}},
		{"QUIT is refused", dialogue(nil, hi, ok, "500 stay\r\n"), SMTP{}, verdict{`500 "stay", want 221`, nil}},
		{"it closes after the greeting", dialogue(nil, hi, ""), SMTP{}, verdict{"EHLO", nil}},
		{"it closes at once", func(net.Conn) {}, SMTP{}, verdict{"greeting", nil}},
		{"it closes without goodbye", dialogue(nil, hi, ok, ""), SMTP{}, verdict{"QUIT", nil}},
		{"silence", hold, SMTP{}, late},
		{"silence after the greeting", dialogue(nil, hi), SMTP{}, late},
		{"a byte now and then", func(c net.Conn) { drip(c, "220-"+strings.Repeat("x", 500)) }, SMTP{}, late},
		{"a line without end", func(c net.Conn) { endless(c, "220 x") }, SMTP{}, verdict{"more than 2048 bytes", nil}},
		{"lines without end", func(c net.Conn) { endless(c, "220-x\r\n") }, SMTP{}, verdict{"more than 100 lines", nil}},
		{"another protocol", dialogue(nil, "SSH-2.0-OpenSSH_9.2\r\n"), SMTP{}, verdict{`does not speak SMTP: it sent "SSH-2.0-OpenSSH_9.2\r\n"`, nil}},
		{"codes that change", dialogue(nil, "220-a\r\n250 b\r\n"), SMTP{}, verdict{"does not speak SMTP", nil}},
		{"a code that is none", dialogue(nil, "2200 a\r\n"), SMTP{}, verdict{"does not speak SMTP", nil}},

		{"STARTTLS", dialogue(config, hi, tlsOK, "220 go ahead\r\n", ok, bye), SMTP{TLS: trust}, verdict{}},
		{"STARTTLS is not offered", dialogue(config, hi, ok, bye), SMTP{TLS: trust}, verdict{"STARTTLS", nil}},
		{"STARTTLS is offered and refused", dialogue(config, hi, tlsOK, "454 not now\r\n"), SMTP{TLS: trust}, verdict{`454 "not now", want 220`, nil}},
		{"it goes on in the clear", dialogue(config, hi, tlsOK, "220 go ahead\r\n250 injected\r\n"), SMTP{TLS: trust}, verdict{"goes on in the clear", nil}},
		{"roots that are not ours", dialogue(config, hi, tlsOK, "220 go ahead\r\n", ok, bye), SMTP{TLS: &tls.Config{ServerName: "mail.example"}}, verdict{"unknown authority", nil}},
		{"the certificate ends soon", dialogue(config, hi, tlsOK, "220 go ahead\r\n", ok, bye), SMTP{TLS: trust, MinValidity: 60 * day}, verdict{"a certificate ends at", nil}},
		{"TLS from the first byte", func(c net.Conn) { dialogue(nil, hi, ok, bye)(tls.Server(c, config)) }, SMTP{TLS: trust, Implicit: true}, verdict{}},
		{"TLS from the first byte, and it has none", dialogue(nil, hi, ok, bye), SMTP{TLS: trust, Implicit: true}, verdict{"the server does not speak TLS", nil}},
	}
	for _, tt := range thin(tests) {
		t.Run(tt.name, func(t *testing.T) {
			tt.probe.Addr = serve(t, tt.server)
			report := judge(t, tt.probe, tt.want)
			if tt.want == (verdict{}) && tt.probe.TLS != nil && !report.Expires.Equal(ends) {
				t.Errorf("reports %v, want %v", report.Expires, ends)
			}
		})
	}
}

// TestSMTPSays compares what a server hears.
func TestSMTPSays(t *testing.T) {
	for _, tt := range []struct{ hello, want string }{
		{"", "EHLO [127.0.0.1]\r\nQUIT\r\n"},
		{"lb1.example", "EHLO lb1.example\r\nQUIT\r\n"},
	} {
		heard := make(chan string, 1)
		addr := serve(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "220 hi\r\n")
			in, text := bufio.NewReader(c), ""
			for _, reply := range []string{"250 ok\r\n", "221 bye\r\n"} {
				line, _ := in.ReadString('\n')
				text += line
				_, _ = io.WriteString(c, reply)
			}
			heard <- text
		})
		judge(t, SMTP{Addr: addr, Hello: tt.hello}, verdict{})
		if got := <-heard; got != tt.want {
			t.Errorf("the server heard %q, want %q", got, tt.want)
		}
	}
	for addr, want := range map[string]string{
		"192.0.2.1:25": "[192.0.2.1]", "[2001:db8::1]:25": "[IPv6:2001:db8::1]", "[fe80::1%eth0]:25": "[IPv6:fe80::1]", "": "[127.0.0.1]",
	} {
		if got := addressLiteral(addr); got != want {
			t.Errorf("%q is %s, want %s", addr, got, want)
		}
	}
}

func TestSMTPValidate(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:25")
	for name, p := range map[string]SMTP{
		"no address":           {},
		"a name with a line":   {Addr: addr, Hello: "a\r\nMAIL"},
		"implicit nothing":     {Addr: addr, Implicit: true},
		"validity of nothing":  {Addr: addr, MinValidity: time.Hour},
		"validity below zero":  {Addr: addr, TLS: &tls.Config{}, MinValidity: -1},
		"a name that is long":  {Addr: addr, Hello: strings.Repeat("a", 256)},
		"a source too foreign": {Addr: addr, Source: Source{Addr: netip.IPv6Loopback()}},
	} {
		if err := p.Validate(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{"220 hi\r\n", "250-a\r\n250-b\r\n250 c\r\n", "250\n", "2200 a\r\n", "220-a\r\n250 b\r\n", "220", "\xff\n", "600 x\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(text), maxReplyLine)
		reply, err := readReply(in)
		if err != nil {
			return
		}
		if reply.code < 200 || reply.code > 599 || len(reply.lines) < 1 || len(reply.lines) > maxReplyLines {
			t.Fatalf("%q: %+v", text, reply)
		}
		var again strings.Builder
		for i, line := range reply.lines {
			if strings.Contains(line, "\n") {
				t.Fatalf("%q: line %q", text, line)
			}
			mark := "-"
			if i == len(reply.lines)-1 {
				mark = " "
			}
			again.WriteString(string([]byte{byte('0' + reply.code/100), byte('0' + reply.code/10%10), byte('0' + reply.code%10)}) + mark + line + "\r\n")
		}
		second, err := readReply(bufio.NewReaderSize(strings.NewReader(again.String()), maxReplyLine))
		if err == nil && (second.code != reply.code || !slices.Equal(second.lines, reply.lines)) {
			t.Errorf("%q is %+v, which is read as %+v", text, reply, second)
		}
	})
}
