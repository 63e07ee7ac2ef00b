package health

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// HTTP asks a server for one or more URLs, over http or https, and compares what it
// answers.
//
// Each URL is asked for over a connection of its own, one after another; the first
// that is not in order ends the probe. Redirects are answers like others, and are not
// followed; a proxy of the environment is not used; nothing is compressed unless asked
// for. The context limits the whole probe, so that a server which sends a byte now and
// then fails as one that sends nothing. Headers may have 64 KiB together.
type HTTP struct {
	// Addr is the server.
	Addr   netip.AddrPort
	Source Source
	// URLs are what is asked for; none is the zero URL: GET / wants 200-299.
	URLs []URL
	// Version is the protocol; the zero value is HTTP/1.1.
	Version HTTPVersion
	// TLS makes it https; nil is http. The zero Config verifies the certificate, see
	// TLS.Config, for ServerName, or the Host of each URL, or Addr. NextProtos are
	// those of Version, whatever it says. It is shared, so it must not be changed any
	// more.
	TLS *tls.Config
	// MinValidity is how long all certificates that the server shows must be valid
	// from now on; 0 asks for nothing beyond what TLS asks. Report.Expires tells how
	// long they are.
	MinValidity time.Duration
	// Reset closes connections by a reset, see TCP.Reset. The server has answered by
	// then.
	Reset bool
}

// URL is something to ask an HTTP server for, and what to expect.
type URL struct {
	// Path is the path with the query, escaped as it is sent: "/health?deep=1"; "" is "/".
	Path string
	// Host is the virtual host (the header Host, :authority), with a port if it is not
	// the usual one; "" is Addr. In https it is the name that is asked for and verified.
	Host string
	// Method is "GET", "HEAD", ...; "" is GET. No body is sent.
	Method string
	// Header is sent besides Host, User-Agent ("lvskit", unless it is here) and
	// Connection.
	Header http.Header
	// Status is what the status code must be in; none is 200-299.
	Status StatusRanges
	// Body must match the body, if not nil.
	Body *regexp.Regexp
	// Digest is the MD5 of the body in 32 hexadecimal digits, as keepalived has it in
	// its configuration and its genhash prints it; "" is any. It is that of the content:
	// chunks of HTTP/1.1 and frames of HTTP/2 are put together before.
	Digest string
	// MaxBody is how many bytes the body may have, 1 to 64 MiB; 0 means 1 MiB. The body
	// is always read to its end, and a longer one fails.
	MaxBody int
}

// HTTPVersion is a version of HTTP.
type HTTPVersion uint8

// The zero HTTPVersion is HTTP11.
const (
	HTTP11 HTTPVersion = iota // RFC 9112, with Connection: close
	HTTP10                    // RFC 1945, with the header Host; keepalived's default
	HTTP2                     // RFC 9113; by ALPN over TLS, else by prior knowledge (h2c)
)

const (
	defaultBody = 1 << 20
	maxBody     = 64 << 20
	// maxHeaders is how many bytes the headers of an answer may have together.
	maxHeaders = 64 << 10
	// maxInterim is how many interim answers (1xx) may come before the answer.
	maxInterim = 10
)

var statusOK = StatusRanges{{200, 299}}

// Validate tells whether the fields make sense; the error matches fs.ErrInvalid, or
// errors.ErrUnsupported.
func (p HTTP) Validate() error {
	if p.Version > HTTP2 {
		return opError("validate", p.Addr.String(), invalid("HTTPVersion %d is none", p.Version))
	}
	if p.MinValidity < 0 || p.MinValidity > 0 && p.TLS == nil {
		return opError("validate", p.Addr.String(), invalid("MinValidity is %v, and is for https", p.MinValidity))
	}
	for _, u := range p.URLs {
		if err := u.validate(); err != nil {
			return opError("validate", p.object(u), err)
		}
	}
	return p.Source.validateAddrPort(p.Addr)
}

func (u URL) validate() error {
	switch {
	case u.Path != "" && u.Path[0] != '/' && u.Path != "*" || strings.ContainsFunc(u.Path, notPrintable):
		return invalid("Path %s does not begin with a slash, or is not escaped", excerpt(u.Path))
	case strings.ContainsFunc(u.Host, notPrintable) || strings.ContainsAny(u.Host, "/?#@"):
		return invalid("Host %s is not a host", excerpt(u.Host))
	case strings.ContainsFunc(u.Method, notToken) || u.Method == http.MethodConnect:
		return invalid("Method %s is not for probes", excerpt(u.Method))
	case u.MaxBody < 0 || u.MaxBody > maxBody:
		return invalid("MaxBody is %d, want 0 to %d", u.MaxBody, maxBody)
	}
	if digest, err := hex.DecodeString(u.Digest); err != nil || len(digest) != 0 && len(digest) != md5.Size {
		return invalid("Digest %s is not an MD5 in %d hexadecimal digits", excerpt(u.Digest), 2*md5.Size)
	}
	for _, r := range u.Status {
		if err := r.validate(); err != nil {
			return err
		}
	}
	for name, values := range u.Header {
		if name == "" || strings.ContainsFunc(name, notToken) {
			return invalid("header %s is not a name", excerpt(name))
		}
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Keep-Alive", "Proxy-Connection":
			return invalid("header %s is not the caller's to set", name)
		}
		for _, v := range values {
			if strings.ContainsFunc(v, notText) {
				return invalid("header %s has control characters", name)
			}
		}
	}
	return nil
}

func notPrintable(r rune) bool { return r <= ' ' || r >= 0x7f }
func notText(r rune) bool      { return r < ' ' && r != '\t' || r == 0x7f }

// notToken is for names of methods and headers (RFC 9110, section 5.6.2).
func notToken(r rune) bool { return notPrintable(r) || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) }

// Probe asks for all URLs, see HTTP. The Report has Expires in https, also if the
// probe fails by a certificate.
func (p HTTP) Probe(ctx context.Context) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, fault(err)
	}
	urls := p.URLs
	if len(urls) == 0 {
		urls = []URL{{}}
	}
	var report Report
	for _, u := range urls {
		expires, err := p.ask(ctx, u)
		if report.Expires.IsZero() || !expires.IsZero() && expires.Before(report.Expires) {
			report.Expires = expires
		}
		if err != nil {
			return report, opError(strings.ToLower(u.method()), p.object(u), fault(err))
		}
	}
	return report, nil
}

// ask asks for one URL, and tells when the certificates end.
func (p HTTP) ask(ctx context.Context, u URL) (expires time.Time, err error) {
	c, err := p.Source.dial(ctx, "tcp", p.Addr)
	if err != nil {
		return expires, fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	if p.Reset {
		if err := c.reset(); err != nil {
			return expires, inconclusive(err)
		}
	}
	var stream io.ReadWriter = c
	if p.TLS != nil {
		secured, report, err := p.security(u).handshake(c)
		expires = report.Expires
		if err != nil {
			return expires, fmt.Errorf("handshake: %w", err)
		}
		defer secured.Close()
		stream = secured
	}
	exchange := p.exchange1
	if p.Version == HTTP2 {
		exchange = p.exchange2
	}
	status, body, err := exchange(stream, u)
	if err != nil {
		return expires, unexpected(err)
	}
	return expires, u.check(status, body)
}

func (p HTTP) security(u URL) security {
	protos := []string{"http/1.1"}
	if p.Version == HTTP2 {
		protos = []string{"h2"}
	}
	name := hostname(u.Host)
	if name == "" {
		name = p.Addr.Addr().WithZone("").String()
	}
	return security{config: p.TLS, name: name, protos: protos, lenient: p.Version != HTTP2, validity: p.MinValidity}
}

// hostname is a host without its port and brackets.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') && strings.IndexByte(host, ':') == i || i > 0 && host[i-1] == ']' {
		host = host[:i]
	}
	return strings.Trim(host, "[]")
}

func (u URL) method() string {
	if u.Method == "" {
		return http.MethodGet
	}
	return u.Method
}

func (u URL) path() string {
	if u.Path == "" {
		return "/"
	}
	return u.Path
}

// authority is the Host that is sent.
func (p HTTP) authority(u URL) string {
	if u.Host != "" {
		return u.Host
	}
	addr := netip.AddrPortFrom(p.Addr.Addr().Unmap().WithZone(""), p.Addr.Port())
	if usual := map[bool]uint16{false: 80, true: 443}[p.TLS != nil]; addr.Port() == usual {
		return strings.TrimSuffix(addr.String(), fmt.Sprintf(":%d", usual))
	}
	return addr.String()
}

func (p HTTP) scheme() string {
	if p.TLS != nil {
		return "https"
	}
	return "http"
}

// object is the URL for errors: where it is asked for, which its Host need not be.
func (p HTTP) object(u URL) string {
	object := p.scheme() + "://" + p.Addr.String() + u.path()
	if u.Host != "" {
		object += " (" + u.Host + ")"
	}
	return object
}

// check compares an answer with what is expected.
func (u URL) check(status int, body io.Reader) error {
	want := u.Status
	if len(want) == 0 {
		want = statusOK
	}
	if !want.Contains(status) {
		return fmt.Errorf("status %d, want %s", status, want)
	}
	limit := u.MaxBody
	if limit == 0 {
		limit = defaultBody
	}
	digest := md5.New()
	var content bytes.Buffer
	sink := io.Discard
	switch {
	case u.Digest != "" && u.Body != nil:
		sink = io.MultiWriter(digest, &content)
	case u.Digest != "":
		sink = digest
	case u.Body != nil:
		sink = &content
	}
	n, err := io.Copy(sink, io.LimitReader(body, int64(limit)+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the body ends after %d bytes: %w", n, errClosed)
	case err != nil:
		return fmt.Errorf("body, after %d bytes: %w", n, err)
	case n > int64(limit):
		return fmt.Errorf("the body has more than MaxBody, %d bytes", limit)
	}
	if got := hex.EncodeToString(digest.Sum(nil)); u.Digest != "" && got != strings.ToLower(u.Digest) {
		return fmt.Errorf("the digest of the body is %s, want %s", got, strings.ToLower(u.Digest))
	}
	if u.Body != nil && !u.Body.Match(content.Bytes()) {
		return fmt.Errorf("the body %s does not match %s", excerpt(content.Bytes()), u.Body)
	}
	return nil
}
