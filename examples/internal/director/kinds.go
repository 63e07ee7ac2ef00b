package director

import (
	"crypto/tls"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lvskit/lvskit/health"
)

// kinds are the values of "kind", each with a struct of its own fields.
var kinds = map[string]func() kind{
	"tcp":    func() kind { return new(tcpKind) },
	"http":   func() kind { return new(httpKind) },
	"https":  func() kind { return new(httpsKind) },
	"tls":    func() kind { return new(tlsKind) },
	"smtp":   func() kind { return new(smtpKind) },
	"dns":    func() kind { return new(dnsKind) },
	"udp":    func() kind { return new(udpKind) },
	"grpc":   func() kind { return new(grpcKind) },
	"ping":   func() kind { return new(pingKind) },
	"script": func() kind { return new(scriptKind) },
}

// tcpKind connects, and may ask and expect.
type tcpKind struct {
	Send   string         `json:"send"`
	Expect *regexp.Regexp `json:"expect"`
	Reset  bool           `json:"reset"`
}

func (k *tcpKind) prober(t target) health.Prober {
	return health.TCP{Addr: t.to, Source: t.from, Send: k.Send, Expect: k.Expect, Reset: k.Reset}
}

// httpKind asks for a URL.
type httpKind struct {
	Method string              `json:"method"`
	Path   string              `json:"path"`
	Host   string              `json:"host"`
	Status health.StatusRanges `json:"status"`
	Body   *regexp.Regexp      `json:"body"`
	Digest string              `json:"digest"`
	Reset  bool                `json:"reset"`
}

func (k *httpKind) prober(t target) health.Prober {
	return k.plain(t)
}

func (k *httpKind) plain(t target) health.HTTP {
	url := health.URL{Path: k.Path, Host: k.Host, Method: k.Method, Status: k.Status, Body: k.Body, Digest: k.Digest}
	return health.HTTP{Addr: t.to, Source: t.from, URLs: []health.URL{url}, Reset: k.Reset}
}

// tlsFields are of all kinds with TLS.
type tlsFields struct {
	Verify      bool     `json:"verify"`
	ServerName  string   `json:"server_name"`
	MinValidity duration `json:"min_validity"`
}

func (f tlsFields) config() *tls.Config {
	return &tls.Config{ServerName: f.ServerName, InsecureSkipVerify: !f.Verify}
}

// httpsKind does so by TLS.
type httpsKind struct {
	httpKind
	tlsFields
}

func (k *httpsKind) prober(t target) health.Prober {
	p := k.plain(t)
	p.TLS, p.MinValidity = k.config(), time.Duration(k.MinValidity)
	return p
}

// tlsKind shakes hands.
type tlsKind struct{ tlsFields }

func (k *tlsKind) prober(t target) health.Prober {
	return health.TLS{Addr: t.to, Source: t.from, Config: k.config(), MinValidity: time.Duration(k.MinValidity)}
}

// smtpKind holds a session with a mail server.
type smtpKind struct {
	Hello string `json:"hello"`
}

func (k *smtpKind) prober(t target) health.Prober {
	return health.SMTP{Addr: t.to, Source: t.from, Hello: k.Hello}
}

// dnsKind asks a name server.
type dnsKind struct {
	Name   string         `json:"name"`
	Type   health.DNSType `json:"type"`
	Answer bool           `json:"answer"`
	TCP    bool           `json:"tcp"`
}

func (k *dnsKind) prober(t target) health.Prober {
	return health.DNS{Addr: t.to, Source: t.from, Name: k.Name, Type: k.Type, Answer: k.Answer, TCP: k.TCP}
}

// udpKind sends a datagram.
type udpKind struct {
	Payload string         `json:"payload"`
	Reply   bool           `json:"reply"`
	Expect  *regexp.Regexp `json:"expect"`
}

func (k *udpKind) prober(t target) health.Prober {
	return health.UDP{Addr: t.to, Source: t.from, Payload: k.Payload, Reply: k.Reply, Expect: k.Expect}
}

// grpcKind asks whether a service serves.
type grpcKind struct {
	Service   string `json:"service"`
	Authority string `json:"authority"`
}

func (k *grpcKind) prober(t target) health.Prober {
	return health.GRPC{Addr: t.to, Source: t.from, Service: k.Service, Authority: k.Authority}
}

// pingKind asks for an echo.
type pingKind struct{}

func (*pingKind) alone()                          {}
func (k *pingKind) prober(t target) health.Prober { return t.pinger.Echo(t.to.Addr()) }

// scriptKind runs a program. {addr} and {port} in its arguments are the real
// server's.
type scriptKind struct {
	Command []string `json:"command"`
	Dynamic bool     `json:"dynamic"`
}

func (*scriptKind) alone() {}

func (k *scriptKind) prober(t target) health.Prober {
	fill := strings.NewReplacer("{addr}", t.to.Addr().String(), "{port}", strconv.Itoa(int(t.to.Port())))
	p := health.Script{Dynamic: k.Dynamic}
	for i, arg := range k.Command {
		if i == 0 {
			p.Path = arg
		} else {
			p.Args = append(p.Args, fill.Replace(arg))
		}
	}
	return p
}
