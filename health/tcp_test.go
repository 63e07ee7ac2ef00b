package health

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTCP(t *testing.T) {
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, text); hold(c) }
	}
	late := verdict{"no answer in time", context.DeadlineExceeded}
	tests := []struct {
		name   string
		server func(net.Conn)
		probe  TCP
		want   verdict
	}{
		{"a server that accepts", hold, TCP{}, verdict{}},
		{"a server that accepts, closed by reset", hold, TCP{Reset: true}, verdict{}},
		{"what is sent arrives", func(c net.Conn) {
			b := make([]byte, 6)
			if _, err := io.ReadFull(c, b); err == nil && string(b) == "PING\r\n" {
				say("+PONG\r\n")(c)
			}
		}, TCP{Send: "PING\r\n", Expect: regexp.MustCompile(`^\+PONG\r\n`)}, verdict{}},
		{"sent without an answer expected", hold, TCP{Send: "QUIT\r\n"}, verdict{}},
		{"the answer comes in pieces", func(c net.Conn) { drip(c, "ready"); hold(c) }, TCP{Expect: regexp.MustCompile("ready")}, verdict{}},
		{
			"another answer, and the end", func(c net.Conn) { _, _ = io.WriteString(c, "-ERR") },
			TCP{Expect: regexp.MustCompile("PONG")},
			verdict{`want PONG, got "-ERR": the server closed the connection`, nil},
		},
		{"no answer, and the end", func(net.Conn) {}, TCP{Expect: regexp.MustCompile("PONG")}, verdict{"got nothing: the server closed the connection", nil}},
		{"no answer at all", hold, TCP{Expect: regexp.MustCompile("PONG")}, late},
		{"a byte now and then, for ever", func(c net.Conn) { drip(c, strings.Repeat("x", 1000)) }, TCP{Expect: regexp.MustCompile("PONG")}, late},
		{"an endless answer", func(c net.Conn) { endless(c, "garbage") }, TCP{Expect: regexp.MustCompile("PONG")}, verdict{"not within 4096 bytes", nil}},
		{"just within the bound", say(strings.Repeat("x", 96) + "PONG"), TCP{Expect: regexp.MustCompile("PONG"), MaxBytes: 100}, verdict{}},
		{"just beyond the bound", say(strings.Repeat("x", 97) + "PONG"), TCP{Expect: regexp.MustCompile("PONG"), MaxBytes: 100}, verdict{"not within 100 bytes", nil}},
		{"a server that resets", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, TCP{Expect: regexp.MustCompile("x")}, verdict{"connection reset", syscall.ECONNRESET}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.probe.Addr = serve(t, tt.server)
			judge(t, tt.probe, tt.want)
		})
	}
	l, addr := loopback(t)
	l.Close()
	judge(t, TCP{Addr: addr}, verdict{"connect " + addr.String() + ": connection refused", syscall.ECONNREFUSED})
}

func TestTCPValidate(t *testing.T) {
	good := netip.MustParseAddrPort("192.0.2.1:80")
	tests := []struct {
		name  string
		probe TCP
		want  string // "" is valid
	}{
		{"an address and a port", TCP{Addr: good}, ""},
		{"no address", TCP{}, "Addr is not set"},
		{"no port", TCP{Addr: netip.AddrPortFrom(good.Addr(), 0)}, "port of Addr is 0"},
		{"all addresses", TCP{Addr: netip.MustParseAddrPort("0.0.0.0:80")}, "not the address of one server"},
		{"a group", TCP{Addr: netip.MustParseAddrPort("[ff02::1]:80")}, "not the address of one server"},
		{"a link-local address alone", TCP{Addr: netip.MustParseAddrPort("[fe80::1]:80")}, "needs a zone"},
		{"a link-local address with its zone", TCP{Addr: netip.MustParseAddrPort("[fe80::1%eth0]:80")}, ""},
		{"a link-local address by a device", TCP{Addr: netip.MustParseAddrPort("[fe80::1]:80"), Source: Source{Device: "eth0"}}, ""},
		{"a zone where none belongs", TCP{Addr: netip.MustParseAddrPort("[2001:db8::1%eth0]:80")}, "only link-local addresses have a zone"},
		{"a source of the other family", TCP{Addr: good, Source: Source{Addr: netip.MustParseAddr("2001:db8::1")}}, "other family"},
		{"a mapped source of the same family", TCP{Addr: good, Source: Source{Addr: netip.MustParseAddr("::ffff:192.0.2.9")}}, ""},
		{"a source that is a group", TCP{Addr: good, Source: Source{Addr: netip.MustParseAddr("224.0.0.1")}}, "multicast"},
		{"a device with a long name", TCP{Addr: good, Source: Source{Device: "a-very-long-name"}}, "15 bytes"},
		{"a device that is a path", TCP{Addr: good, Source: Source{Device: "eth/0"}}, "slashes"},
		{"a bound below zero", TCP{Addr: good, MaxBytes: -1}, "MaxBytes is -1"},
		{"a bound that is none", TCP{Addr: good, MaxBytes: 1 << 20}, "MaxBytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.probe.Validate()
			if tt.want == "" {
				if err != nil && !errors.Is(err, errors.ErrUnsupported) {
					t.Error(err)
				}
				return
			}
			if err == nil || !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := tt.probe.Probe(ctx); !errors.Is(err, ErrInconclusive) || !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("the probe ended with %v, want it inconclusive", err)
			}
		})
	}
}
