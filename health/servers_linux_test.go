package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// newPair is a host to probe from, and one with servers at 10.0.0.9.
func newPair(t *testing.T) (prober, server *lab.Host) {
	t.Helper()
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	prober, server = labtest.Host(t, l, "prober"), labtest.Host(t, l, "server")
	labtest.Connect(t, prober, lan, "10.0.0.1/24")
	labtest.Connect(t, server, lan, "10.0.0.9/24")
	return prober, server
}

// serverPort is a port of the host with servers.
func serverPort(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.9"), port)
}

// eventually waits until a prober passes.
func eventually(t *testing.T, p Prober) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		once, done := context.WithTimeout(ctx, 5*time.Second)
		_, err := p.Probe(once)
		done()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// outage stops a server, which then answers nothing, and ends it, and then nobody
// listens.
func outage(t *testing.T, server *lab.Process, probers map[string]Prober) {
	t.Helper()
	each := func(want verdict) {
		for name, p := range probers {
			t.Run(name, func(t *testing.T) { judge(t, p, want) })
		}
	}
	each(verdict{})
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	each(verdict{"no answer in time", context.DeadlineExceeded})
	if err := server.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	each(verdict{"connection refused", syscall.ECONNREFUSED})
}

const nginxConfig = `
daemon off; master_process off; error_log stderr; pid DIR/pid;
events { worker_connections 64; }
http {
	access_log off; client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi; default_type text/plain; root DIR;
	ssl_certificate CERT; ssl_certificate_key KEY;
	server { listen 80 default_server; listen 443 ssl http2 default_server; listen 81 http2;
		location /sick { return 503; }
		location /moved { return 301 /; }
	}
	server { listen 80; listen 443 ssl http2; server_name shop.example; return 200 "the shop"; }
}`

func TestProbersOfNginx(t *testing.T) {
	need.Program(t, "nginx")
	prober, server := newPair(t)
	n := newNotary(t)
	ends := second(time.Now().Add(30 * day))
	cert, key := files(t, n.server(ends, "10.0.0.9", "shop.example"))
	dir := t.TempDir()
	page := strings.Repeat("0123456789abcde\n", 10_000)
	write(t, filepath.Join(dir, "page"), page)
	config := filepath.Join(dir, "nginx.conf")
	write(t, config, strings.NewReplacer("DIR", dir, "CERT", cert, "KEY", key).Replace(nginxConfig))
	nginx := labtest.Start(t, server, "", "nginx", "-c", config, "-e", "stderr")

	from := Source{NetNS: prober.Path()}
	eventually(t, TCP{Addr: serverPort(80), Source: from})
	trusting := &tls.Config{RootCAs: n.roots}
	ways := map[string]HTTP{
		"HTTP/1.1":                  {Addr: serverPort(80)},
		"HTTP/1.0":                  {Addr: serverPort(80), Version: HTTP10},
		"HTTP/2 by prior knowledge": {Addr: serverPort(81), Version: HTTP2},
		"https":                     {Addr: serverPort(443), TLS: trusting, MinValidity: 29 * day},
		"HTTP/2 over TLS":           {Addr: serverPort(443), TLS: trusting, Version: HTTP2},
	}
	probers := map[string]Prober{
		"TLS":             TLS{Addr: serverPort(443), Source: from, Config: &tls.Config{RootCAs: n.roots, NextProtos: []string{"h2"}}},
		"TCP with answer": TCP{Addr: serverPort(80), Source: from, Send: "HEAD / HTTP/1.0\r\n\r\n", Expect: regexp.MustCompile("Server: nginx")},
	}
	digest := genhash(t, prober, page)
	for name, way := range ways {
		way.Source = from
		testNginx(t, name, way, digest, ends)
		way.URLs = []URL{{Path: "/page", Digest: digest}}
		probers[name] = way
	}
	outage(t, nginx, probers)
}

// genhash is what keepalived takes for the digest of the page, if it is here.
func genhash(t *testing.T, h *lab.Host, page string) string {
	t.Helper()
	want := md5of(page)
	if _, err := os.Stat("/usr/bin/genhash"); err != nil {
		return want
	}
	out := labtest.Run(t, h, "genhash", "-s", "10.0.0.9", "-p", "80", "-u", "/page")
	got := regexp.MustCompile("[0-9a-f]{32}").FindString(out)
	if got != want {
		t.Errorf("genhash prints %q, the digest is %s", out, want)
	}
	return got
}

func testNginx(t *testing.T, name string, p HTTP, digest string, ends time.Time) {
	tests := []struct {
		name string
		url  URL
		want string
	}{
		{"digest", URL{Path: "/page", Digest: digest}, ""},
		{"another digest", URL{Path: "/page", Digest: md5of("")}, "the digest of the body is " + digest},
		{"body", URL{Path: "/page", Body: regexp.MustCompile("abcde\n$")}, ""},
		{"a page that is not there", URL{Path: "/none"}, "status 404, want 200-299"},
		{"a page that is not there, as it should be", URL{Path: "/none", Status: StatusRanges{{404, 404}}}, ""},
		{"sick", URL{Path: "/sick"}, "status 503"},
		{"moved", URL{Path: "/moved"}, "status 301"},
		{"only the head", URL{Path: "/page", Method: "HEAD", MaxBody: 1}, ""},
	}
	if p.Addr.Port() != 81 {
		tests = append(tests, []struct {
			name string
			url  URL
			want string
		}{
			{"a virtual host", URL{Host: "shop.example", Digest: md5of("the shop")}, ""},
			{"another", URL{Host: "10.0.0.9", Path: "/page", Digest: md5of("the shop")}, "the digest of the body is " + digest},
		}...)
	}
	for _, tt := range thin(tests) {
		t.Run(fmt.Sprintf("%s/%s", name, tt.name), func(t *testing.T) {
			p.URLs = []URL{tt.url}
			report := judge(t, p, verdict{text: tt.want})
			if p.TLS != nil && !report.Expires.Equal(ends) {
				t.Errorf("reports %v, want %v", report.Expires, ends)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestProbersOfAiosmtpd(t *testing.T) {
	need.Program(t, "aiosmtpd")
	prober, server := newPair(t)
	n := newNotary(t)
	ends := second(time.Now().Add(30 * day))
	cert, key := files(t, n.server(ends, "10.0.0.9"))
	start := func(port string, args ...string) *lab.Process {
		args = append([]string{"-n", "-c", "aiosmtpd.handlers.Sink", "-l", "10.0.0.9:" + port}, args...)
		return labtest.Start(t, server, "", "aiosmtpd", args...)
	}
	from := Source{NetNS: prober.Path()}
	trusting := &tls.Config{RootCAs: n.roots}
	plain, starttls, implicit := SMTP{Addr: serverPort(25), Source: from}, SMTP{Addr: serverPort(587), Source: from, TLS: trusting},
		SMTP{Addr: serverPort(465), Source: from, TLS: trusting, Implicit: true}
	probers := map[string]SMTP{"starttls": starttls}
	processes := map[string]*lab.Process{"starttls": start("587", "--tlscert", cert, "--tlskey", key)}
	if !need.Emulated() { // each takes ten seconds to start there
		probers["plain"], processes["plain"] = plain, start("25")
		probers["implicit"], processes["implicit"] = implicit, start("465", "--smtpscert", cert, "--smtpskey", key)
	}
	for name, p := range probers {
		eventually(t, p)
		report := judge(t, p, verdict{})
		if name != "plain" && !report.Expires.Equal(ends) {
			t.Errorf("%s: reports %v, want %v", name, report.Expires, ends)
		}
	}
	if probers["plain"].Addr.IsValid() {
		wrong := plain
		wrong.TLS = trusting
		judge(t, wrong, verdict{text: "STARTTLS 10.0.0.9:25: the server does not offer it"})
	}
	judge(t, SMTP{Addr: serverPort(587), Source: from, TLS: &tls.Config{}}, verdict{text: "unknown authority"})
	judge(t, HTTP{Addr: serverPort(587), Source: from}, verdict{text: "the server does not speak HTTP"})
	for name, p := range probers {
		outage(t, processes[name], map[string]Prober{name: p})
	}
}

// TestTLSOfOpenSSL is for versions and protocols of a TLS that is not Go's.
func TestTLSOfOpenSSL(t *testing.T) {
	need.Program(t, "openssl")
	prober, server := newPair(t)
	n := newNotary(t)
	ends := second(time.Now().Add(30 * day))
	cert, key := files(t, n.server(ends, "10.0.0.9"))
	start := func(port string, args ...string) *lab.Process {
		return labtest.Start(t, server, "ACCEPT", "openssl", append([]string{"s_server", "-www", "-accept", port, "-cert", cert, "-key", key}, args...)...)
	}
	modern, older := start("443"), start("444", "-tls1_2", "-alpn", "imap")
	from := Source{NetNS: prober.Path()}
	with := func(port uint16, change func(*tls.Config)) TLS {
		config := &tls.Config{RootCAs: n.roots}
		change(config)
		return TLS{Addr: serverPort(port), Source: from, Config: config}
	}
	nothing := func(*tls.Config) {}
	if report := judge(t, with(443, nothing), verdict{}); !report.Expires.Equal(ends) {
		t.Errorf("reports %v, want %v", report.Expires, ends)
	}
	judge(t, with(443, func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }), verdict{})
	judge(t, with(444, func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }), verdict{text: "protocol version not supported"})
	judge(t, with(444, func(c *tls.Config) { c.NextProtos = []string{"imap"} }), verdict{})
	judge(t, with(443, func(c *tls.Config) { c.NextProtos = []string{"imap"} }), verdict{text: "none of the protocols"})
	outage(t, modern, map[string]Prober{"TLS 1.3": with(443, nothing)})
	outage(t, older, map[string]Prober{"TLS 1.2": with(444, nothing)})
}
