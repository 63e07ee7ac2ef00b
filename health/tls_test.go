package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// shake is a server that does TLS and then nothing.
func shake(config *tls.Config) func(net.Conn) {
	return func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			hold(s)
		}
	}
}

const day = 24 * time.Hour

func TestTLS(t *testing.T) {
	n := newNotary(t)
	month := second(time.Now().Add(30 * day))
	good := tls.Config{Certificates: []tls.Certificate{n.server(month, "example.org", "127.0.0.1")}, NextProtos: []string{"h2", "http/1.1"}}
	old := tls.Config{Certificates: []tls.Certificate{n.server(second(time.Now().Add(-day)), "example.org")}}
	tls12 := tls.Config{Certificates: good.Certificates, MaxVersion: tls.VersionTLS12}
	plain := tls.Config{Certificates: good.Certificates}
	trust := func(c *tls.Config) *tls.Config { c.RootCAs = n.roots; return c }
	late := verdict{"no answer in time", context.DeadlineExceeded}
	tests := []struct {
		name   string
		server func(net.Conn)
		probe  TLS
		want   verdict
		ends   time.Time
	}{
		{"a good certificate for the name", shake(&good), TLS{Config: trust(&tls.Config{ServerName: "example.org"})}, verdict{}, month},
		{"a good certificate for the address", shake(&good), TLS{Config: trust(&tls.Config{})}, verdict{}, month},
		{"another name", shake(&good), TLS{Config: trust(&tls.Config{ServerName: "example.com"})}, verdict{"handshake", x509.HostnameError{}}, month},
		{"roots that are not ours", shake(&good), TLS{}, verdict{"unknown authority", nil}, month},
		{"any certificate is good", shake(&good), TLS{Config: &tls.Config{InsecureSkipVerify: true}}, verdict{}, month},
		{"a certificate that has ended", shake(&old), TLS{Config: trust(&tls.Config{ServerName: "example.org"})}, verdict{"expired", nil}, second(time.Now().Add(-day))},
		{"one that has ended, and any is good", shake(&old), TLS{Config: &tls.Config{InsecureSkipVerify: true}}, verdict{}, second(time.Now().Add(-day))},
		{"it is good for long enough", shake(&good), TLS{Config: trust(&tls.Config{}), MinValidity: 29 * day}, verdict{}, month},
		{"it is not good for long enough", shake(&good), TLS{Config: trust(&tls.Config{}), MinValidity: 31 * day}, verdict{"a certificate ends at", nil}, month},
		{"unverified, and not good for long enough", shake(&old), TLS{Config: &tls.Config{InsecureSkipVerify: true}, MinValidity: time.Hour}, verdict{"want at least 1h0m0s more, has -24h", nil}, second(time.Now().Add(-day))},
		{"a protocol that it has", shake(&good), TLS{Config: trust(&tls.Config{NextProtos: []string{"h2"}})}, verdict{}, month},
		{"a protocol that it does not have", shake(&good), TLS{Config: trust(&tls.Config{NextProtos: []string{"imap"}})}, verdict{"no application protocol", nil}, time.Time{}},
		{"a protocol, and it knows of none", shake(&plain), TLS{Config: trust(&tls.Config{NextProtos: []string{"imap"}})}, verdict{`none of the protocols ["imap"]`, nil}, month},
		{"a version that it does not have", shake(&tls12), TLS{Config: trust(&tls.Config{MinVersion: tls.VersionTLS13})}, verdict{"protocol version not supported", nil}, time.Time{}},
		{"an older version", shake(&tls12), TLS{Config: trust(&tls.Config{})}, verdict{}, month},
		{"no TLS", func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example.org ESMTP\r\n"); hold(c) }, TLS{}, verdict{"the server does not speak TLS", nil}, time.Time{}},
		{"the connection is closed", func(net.Conn) {}, TLS{}, verdict{"", nil}, time.Time{}},
		{"silence", hold, TLS{}, late, time.Time{}},
		{"garbage", func(c net.Conn) { endless(c, "\x16\x03\x03\x00\x04\xff\x00\x00\x00") }, TLS{}, verdict{"handshake", nil}, time.Time{}},
		{"a byte now and then", func(c net.Conn) { drip(c, "\x16\x03\x03\x10\x00"+strings.Repeat("x", 5000)) }, TLS{}, late, time.Time{}},
	}
	for _, tt := range thin(tests) {
		t.Run(tt.name, func(t *testing.T) {
			tt.probe.Addr = serve(t, tt.server)
			if tt.name == "the connection is closed" {
				if _, err := tt.probe.Probe(soon(t)); err == nil || errors.Is(err, ErrInconclusive) {
					t.Errorf("got %v", err)
				}
				return
			}
			if host := (x509.HostnameError{}); tt.want.is == error(host) {
				tt.want.is = nil
				_, err := tt.probe.Probe(soon(t))
				if !errors.As(err, &host) || host.Host != "example.com" {
					t.Errorf("got %v", err)
				}
			}
			report := judge(t, tt.probe, tt.want)
			if d := report.Expires.Sub(tt.ends).Abs(); d > time.Minute {
				t.Errorf("reports %v, want %v", report.Expires, tt.ends)
			}
		})
	}
	if err := (TLS{Addr: netip.MustParseAddrPort("192.0.2.1:443"), MinValidity: -1}).Validate(); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a validity below zero: %v", err)
	}
}
