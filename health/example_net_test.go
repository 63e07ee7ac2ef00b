package health_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/lvskit/lvskit/health"
)

// greet is a server that says something to everyone; close ends it.
func greet(conversation ...string) (addr netip.AddrPort, end func() error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return addr, func() error { return nil }
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for _, line := range conversation {
				_, _ = io.WriteString(c, line)
				_, _ = c.Read(make([]byte, 512))
			}
			c.Close()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String()), l.Close
}

// masked is an error without the port, which is another one each time.
func masked(err error, addr netip.AddrPort) string {
	return strings.ReplaceAll(err.Error(), addr.String(), "192.0.2.10:80")
}

// A server must greet as Redis does; what it must not do is take longer than a
// second.
func ExampleTCP() {
	addr, end := greet("+PONG\r\n")
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	probe := health.TCP{Addr: addr, Send: "PING\r\n", Expect: regexp.MustCompile(`^\+PONG`), Reset: true}
	_, err := probe.Probe(ctx)
	fmt.Println(err)

	probe.Expect = regexp.MustCompile("^HTTP/")
	probe.MaxBytes = 7
	_, err = probe.Probe(ctx)
	fmt.Println(masked(err, addr))
	// Output:
	// <nil>
	// health: expect 192.0.2.10:80: want ^HTTP/, got "+PONG\r\n": not within 7 bytes
}

// Two pages of one server: the second one is not in order.
func ExampleHTTP() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ready" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, "shop", r.Host)
	}))
	defer server.Close()
	addr := netip.MustParseAddrPort(server.Listener.Addr().String())
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	home := health.URL{Host: "shop.example", Body: regexp.MustCompile("shop.example")}
	_, err := health.HTTP{Addr: addr, URLs: []health.URL{home, {Path: "/ready"}}}.Probe(ctx)
	fmt.Println(masked(err, addr))
	// Output: health: get http://192.0.2.10:80/ready: status 503, want 200-299
}

// A certificate that nobody has signed is good enough for the server, but it must be
// valid for a month more.
func ExampleHTTP_certificate() {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	report, err := health.HTTP{
		Addr:        netip.MustParseAddrPort(server.Listener.Addr().String()),
		TLS:         &tls.Config{InsecureSkipVerify: true},
		MinValidity: 30 * 24 * time.Hour,
		URLs:        []health.URL{{Status: health.StatusRanges{{From: 200, To: 299}, {From: 404, To: 404}}}},
	}.Probe(ctx)
	fmt.Println(err, report.Expires.Format(time.DateOnly))
	// Output: <nil> 2084-01-29
}

func ExampleTLS() {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	addr := netip.MustParseAddrPort(server.Listener.Addr().String())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	probe := health.TLS{Addr: addr, Config: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
	report, err := probe.Probe(ctx)
	fmt.Println(err, report.Expires.Format(time.DateOnly))

	probe.Config = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com"}
	report, err = probe.Probe(ctx)
	fmt.Println(errors.As(err, new(*tls.CertificateVerificationError)), report.Expires.Format(time.DateOnly))
	// Output:
	// <nil> 2084-01-29
	// true 2084-01-29
}

func ExampleSMTP() {
	addr, end := greet("220 mail.example ESMTP\r\n", "250 hello\r\n", "221 bye\r\n")
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	_, err := health.SMTP{Addr: addr, Hello: "lb1.example"}.Probe(ctx)
	fmt.Println(err)

	_, err = health.SMTP{Addr: addr, Hello: "lb1.example", TLS: &tls.Config{ServerName: "mail.example"}}.Probe(ctx)
	fmt.Println(masked(err, addr))
	// Output:
	// <nil>
	// health: STARTTLS 192.0.2.10:80: the server does not offer it
}

func ExampleParseStatusRanges() {
	ranges, err := health.ParseStatusRanges("200-299, 301")
	fmt.Println(ranges, ranges.Contains(301), ranges.Contains(302), err)
	_, err = health.ParseStatusRanges("2xx")
	fmt.Println(err)
	// Output:
	// 200-299,301 true false <nil>
	// health: parse status ranges "2xx": invalid argument: want codes or ranges from 100 to 999, such as 200-299,301
}

// Clients' packets for the virtual address reach a real server by the way of a
// director: by direct routing, or through a tunnel. To probe along that way, send to the
// virtual address with a mark for which IPVS has a service whose only destination is that
// server.
func ExampleSource() {
	probe := health.HTTP{
		Addr:   netip.MustParseAddrPort("192.0.2.10:80"), // the virtual address
		Source: health.Source{Mark: 101},                 // the service of this mark has one server
	}
	if err := probe.Validate(); err != nil {
		fmt.Println(err)
	}
}
