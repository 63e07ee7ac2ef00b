package health

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// shop answers in the ways that probes tell apart.
func shop() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "welcome to", r.Host) })
	mux.HandleFunc("/sick", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusMovedPermanently) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s agent=%s x=%s", r.Method, r.URL, r.Proto, r.Host, r.UserAgent(), r.Header["X-Probe"])
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("0123456789", 200_000))
	})
	mux.HandleFunc("/pieces", func(w http.ResponseWriter, _ *http.Request) {
		for range 5 {
			_, _ = io.WriteString(w, "piece")
			w.(http.Flusher).Flush()
		}
		w.Header().Set(http.TrailerPrefix+"Sum", "25")
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "then this")
	})
	mux.HandleFunc("/nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

func md5of(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// TestHTTP asks the same of a server of the standard library in every way of
// talking to it.
func TestHTTP(t *testing.T) {
	n := newNotary(t)
	ends := second(time.Now().Add(30 * day))
	trusting := &tls.Config{RootCAs: n.roots}
	ways := []struct {
		name  string
		proto string
		probe HTTP
	}{
		{"HTTP/1.1", "HTTP/1.1", HTTP{}},
		{"HTTP/1.0", "HTTP/1.0", HTTP{Version: HTTP10, Reset: true}},
		{"HTTP/2 by prior knowledge", "HTTP/2.0", HTTP{Version: HTTP2}},
		{"https", "HTTP/1.1", HTTP{TLS: trusting}},
		{"HTTP/2 over TLS", "HTTP/2.0", HTTP{TLS: trusting, Version: HTTP2}},
	}
	for _, way := range thin(ways) {
		t.Run(way.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(shop())
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetHTTP1(true)
			server.Config.Protocols.SetHTTP2(true)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			if way.probe.TLS != nil {
				server.TLS = &tls.Config{Certificates: []tls.Certificate{n.server(ends, "127.0.0.1", "shop.example")}}
				server.EnableHTTP2 = true
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			addr := netip.MustParseAddrPort(server.Listener.Addr().String())
			testShop(t, way.probe, addr, way.proto, ends)
		})
	}
}

func testShop(t *testing.T, probe HTTP, addr netip.AddrPort, proto string, ends time.Time) {
	probe.Addr = addr
	tests := []struct {
		name string
		urls []URL
		want string // in the error; "" is success
	}{
		{"nothing in particular", nil, ""},
		{"a path", []URL{{Path: "/echo?a=b%20c"}}, ""},
		{"a page that is not there is here, too", []URL{{Path: "/else"}}, ""},
		{"a server that is sick", []URL{{Path: "/sick"}}, "/sick: status 503, want 200-299"},
		{"which is good", []URL{{Path: "/sick", Status: StatusRanges{{500, 599}}}}, ""},
		{"a redirect is not followed", []URL{{Path: "/moved"}}, "status 301, want 200-299"},
		{"a redirect is wanted", []URL{{Path: "/moved", Status: StatusRanges{{200, 200}, {301, 302}}}}, ""},
		{"two pages", []URL{{Path: "/echo"}, {Path: "/"}}, ""},
		{"two pages, the second is sick", []URL{{}, {Path: "/sick"}}, "/sick: status 503"},
		{"what is asked for", []URL{{Path: "/echo", Body: regexp.MustCompile("^GET /echo " + proto + " " + addr.String() + ` agent=lvskit x=\[\]$`)}}, ""},
		{"a virtual host and headers", []URL{{
			Path: "/echo", Host: "shop.example", Method: "POST",
			Header: http.Header{"X-Probe": {"1", "2"}, "User-Agent": {"me"}},
			Body:   regexp.MustCompile("^POST /echo " + proto + ` shop.example agent=me x=\[1 2\]$`),
		}}, ""},
		{"only the head", []URL{{Path: "/long", Method: "HEAD", MaxBody: 1}}, ""},
		{"another text", []URL{{Body: regexp.MustCompile("goodbye")}}, `the body "welcome to ` + addr.String() + `\n" does not match goodbye`},
		{"the digest", []URL{{Host: "shop.example", Digest: md5of("welcome to shop.example\n")}}, ""},
		{"the digest in capitals", []URL{{Host: "shop.example", Digest: strings.ToUpper(md5of("welcome to shop.example\n"))}}, ""},
		{"digest and text", []URL{{Host: "shop.example", Digest: md5of("welcome to shop.example\n"), Body: regexp.MustCompile("shop")}}, ""},
		{"another digest", []URL{{Digest: md5of("")}}, ", want d41d8cd98f00b204e9800998ecf8427e"},
		{"the digest of a body in pieces", []URL{{Path: "/pieces", Digest: md5of(strings.Repeat("piece", 5))}}, ""},
		{"a long body", []URL{{Path: "/long"}}, "the body has more than MaxBody, 1048576 bytes"},
		{"a long body is wanted", []URL{{Path: "/long", MaxBody: 2_000_000, Digest: md5of(strings.Repeat("0123456789", 200_000))}}, ""},
		{"a body of one byte too many", []URL{{Path: "/pieces", MaxBody: 24}}, "more than MaxBody, 24 bytes"},
		{"a body that just fits", []URL{{Path: "/pieces", MaxBody: 25}}, ""},
		{"half a body", []URL{{Path: "/broken"}}, "after 4 bytes"},
		{"an interim answer before", []URL{{Path: "/early", Body: regexp.MustCompile("^then this$")}}, ""},
		{"no body", []URL{{Path: "/nothing", Digest: md5of("")}}, ""},
	}
	for _, tt := range thin(tests) {
		t.Run(tt.name, func(t *testing.T) {
			p := probe
			p.URLs = tt.urls
			report := judge(t, p, verdict{text: tt.want})
			if p.TLS != nil && !report.Expires.Equal(ends) || p.TLS == nil && !report.Expires.IsZero() {
				t.Errorf("reports %v, the certificate ends %v", report.Expires, ends)
			}
		})
	}
}

// TestHTTPS is about certificates; the rest is as of TLS.
func TestHTTPS(t *testing.T) {
	n := newNotary(t)
	ends := second(time.Now().Add(30 * day))
	server := httptest.NewUnstartedServer(shop())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	var asked atomic.Value
	server.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		asked.Store(hello.ServerName)
		return nil, nil
	}, Certificates: []tls.Certificate{n.server(ends, "shop.example", "127.0.0.1")}}
	server.StartTLS() // without HTTP/2
	defer server.Close()
	addr := netip.MustParseAddrPort(server.Listener.Addr().String())
	trusting := &tls.Config{RootCAs: n.roots}
	tests := []struct {
		name  string
		probe HTTP
		want  string
		asked string
	}{
		{"the address is verified", HTTP{TLS: trusting}, "", ""},
		{"the host is asked for and verified", HTTP{TLS: trusting, URLs: []URL{{Host: "shop.example:8443"}}}, "", "shop.example"},
		{"another host", HTTP{TLS: trusting, URLs: []URL{{Host: "bank.example"}}}, "handshake: tls: failed to verify", "bank.example"},
		{"another host by a name that is good", HTTP{TLS: &tls.Config{RootCAs: n.roots, ServerName: "shop.example"}, URLs: []URL{{Host: "bank.example"}}}, "", "shop.example"},
		{"roots that are not ours", HTTP{TLS: &tls.Config{}}, "unknown authority", ""},
		{"any certificate is good", HTTP{TLS: &tls.Config{InsecureSkipVerify: true}, URLs: []URL{{Host: "bank.example"}}}, "", "bank.example"},
		{"it ends soon", HTTP{TLS: trusting, MinValidity: 60 * day}, "a certificate ends at", ""},
		{"HTTP/2, which it does not have", HTTP{TLS: trusting, Version: HTTP2}, "no application protocol", ""},
	}
	for _, tt := range thin(tests) {
		t.Run(tt.name, func(t *testing.T) {
			tt.probe.Addr = addr
			report := judge(t, tt.probe, verdict{text: tt.want})
			if got := asked.Load(); got != tt.asked {
				t.Errorf("asked for %q, want %q", got, tt.asked)
			}
			if !report.Expires.Equal(ends) && tt.probe.Version != HTTP2 {
				t.Errorf("reports %v, want %v", report.Expires, ends)
			}
		})
	}
	judge(t, HTTP{Addr: addr}, verdict{text: "status 400"}) // http to https
	plain := httptest.NewServer(shop())
	defer plain.Close()
	judge(t, HTTP{Addr: netip.MustParseAddrPort(plain.Listener.Addr().String()), TLS: trusting}, verdict{text: "the server does not speak TLS"})
}

// TestHTTPOfHostileServers: whatever comes, a probe ends in time with an error that
// says what came.
func TestHTTPOfHostileServers(t *testing.T) {
	after := func(fn func(net.Conn)) func(net.Conn) { // the request
		return func(c net.Conn) {
			in := bufio.NewReader(c)
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == "\r\n" {
					break
				}
			}
			fn(c)
		}
	}
	say := func(text string) func(net.Conn) {
		return after(func(c net.Conn) { _, _ = io.WriteString(c, text) })
	}
	late := verdict{"no answer in time", context.DeadlineExceeded}
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name   string
		server func(net.Conn)
		want   verdict
	}{
		{"silence", hold, late},
		{"the connection is closed", after(func(net.Conn) {}), verdict{"the server closed the connection", nil}},
		{"a reset", after(func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }), verdict{"connection reset", syscall.ECONNRESET}},
		{"a byte now and then", after(func(c net.Conn) { drip(c, ok+strings.Repeat("x", 1000)) }), late},
		{"a header without end", after(func(c net.Conn) { _, _ = io.WriteString(c, ok+"X: "); endless(c, "x") }), verdict{"the headers have more than 64 KiB", nil}},
		{"headers without end", after(func(c net.Conn) { _, _ = io.WriteString(c, ok); endless(c, "X: y\r\n") }), verdict{"the headers have more than 64 KiB", nil}},
		{"a status line without end", after(func(c net.Conn) { endless(c, "HTTP/1.1 200 OK") }), verdict{"the headers have more than 64 KiB", nil}},
		{"a body without end", after(func(c net.Conn) { _, _ = io.WriteString(c, ok+"\r\n"); endless(c, "x") }), verdict{"more than MaxBody", nil}},
		{"chunks without end", after(func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n")
			endless(c, "40\r\n"+strings.Repeat("x", 64)+"\r\n")
		}), verdict{"more than MaxBody", nil}},
		{"a chunk's length without end", after(func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n")
			endless(c, "0")
		}), verdict{"body, after 0 bytes", nil}},
		{"a body byte by byte", after(func(c net.Conn) { _, _ = io.WriteString(c, ok+"\r\n"); drip(c, strings.Repeat("x", 1000)) }), late},
		{"half a body, and the end", say(ok + "Content-Length: 10\r\n\r\nhalf"), verdict{"the body ends after 4 bytes: the server closed the connection", nil}},
		{"half a header, and the end", say(ok + "Content-Le"), verdict{"the server does not speak HTTP", nil}},
		{"another protocol", say("220 mail.example ESMTP\r\n"), verdict{`the server does not speak HTTP: malformed HTTP status code "mail.example"`, nil}},
		{"garbage", say("\x00\x01\x02\xff\n"), verdict{"the server does not speak HTTP", nil}},
		{"a status that is none", say("HTTP/1.1 abc OK\r\n\r\n"), verdict{"the server does not speak HTTP", nil}},
		{"lengths that contradict", say(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), verdict{"the server does not speak HTTP", nil}},
		{"interim answers without end", after(func(c net.Conn) { endless(c, "HTTP/1.1 103 Early Hints\r\n\r\n") }), verdict{"more than 10 interim answers", nil}},
		{"a switch of protocols", say("HTTP/1.1 101 Switching Protocols\r\n\r\n"), verdict{"status 101, want 200-299", nil}},
		{"another version", say("HTTP/3.0 200 OK\r\n\r\n"), verdict{`the server answers in "HTTP/3.0"`, nil}},
		{"line feeds alone", say("HTTP/1.0 200 OK\n\nhello"), verdict{}},
	}
	for _, tt := range thin(tests) {
		t.Run(tt.name, func(t *testing.T) {
			judge(t, HTTP{Addr: serve(t, tt.server)}, tt.want)
		})
	}
	l, addr := loopback(t)
	l.Close()
	judge(t, HTTP{Addr: addr}, verdict{"get http://" + addr.String() + "/: connect: connection refused", syscall.ECONNREFUSED})
}

func TestHTTPValidate(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:80")
	tests := []struct {
		name  string
		probe HTTP
		want  string // "" is valid
	}{
		{"an address", HTTP{}, ""},
		{"all of it", HTTP{
			TLS: &tls.Config{}, MinValidity: time.Hour, Version: HTTP2,
			URLs: []URL{{Path: "/a?b=c", Host: "[2001:db8::1]:8080", Method: "OPTIONS", Header: http.Header{"Accept": {"a/b; q=0.1"}}, Status: statusOK, Digest: md5of(""), MaxBody: 1}},
		}, ""},
		{"a version that is none", HTTP{Version: 9}, "HTTPVersion"},
		{"validity of nothing", HTTP{MinValidity: 1}, "is for https"},
		{"a relative path", HTTP{URLs: []URL{{Path: "index.html"}}}, "slash"},
		{"a path with a space", HTTP{URLs: []URL{{Path: "/a b"}}}, "not escaped"},
		{"a path with a line in it", HTTP{URLs: []URL{{}, {Path: "/\r\nX: y"}}}, "not escaped"},
		{"a host that is a URL", HTTP{URLs: []URL{{Host: "http://x"}}}, "is not a host"},
		{"a host with a line in it", HTTP{URLs: []URL{{Host: "x\r\ny"}}}, "is not a host"},
		{"a method that is none", HTTP{URLs: []URL{{Method: "GET /"}}}, "not for probes"},
		{"CONNECT", HTTP{URLs: []URL{{Method: "CONNECT"}}}, "not for probes"},
		{"a digest that is too short", HTTP{URLs: []URL{{Digest: "abcd"}}}, "not an MD5"},
		{"a digest that is none", HTTP{URLs: []URL{{Digest: strings.Repeat("x", 32)}}}, "not an MD5"},
		{"a status that is none", HTTP{URLs: []URL{{Status: StatusRanges{{2, 3}}}}}, "100 to 999"},
		{"a header that is no name", HTTP{URLs: []URL{{Header: http.Header{"A B": {"c"}}}}}, "is not a name"},
		{"a header with a line in it", HTTP{URLs: []URL{{Header: http.Header{"A": {"b\r\nc"}}}}}, "control characters"},
		{"a header of the connection", HTTP{URLs: []URL{{Header: http.Header{"host": {"b"}}}}}, "not the caller's"},
		{"a body without bounds", HTTP{URLs: []URL{{MaxBody: 1 << 30}}}, "MaxBody"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.probe.Addr = addr
			err := tt.probe.Validate()
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if err := (HTTP{}).Validate(); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no address: %v", err)
	}
}

func TestHostname(t *testing.T) {
	for host, want := range map[string]string{
		"": "", "a.example": "a.example", "a.example:80": "a.example", "10.0.0.1:80": "10.0.0.1",
		"[2001:db8::1]:80": "2001:db8::1", "[2001:db8::1]": "2001:db8::1", "2001:db8::1": "2001:db8::1",
	} {
		if got := hostname(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}
