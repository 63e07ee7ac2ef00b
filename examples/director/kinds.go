package main

import (
	"crypto/tls"
	"net/netip"
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
	"script": func() kind { return new(scriptKind) },
}

// tcpKind connects, and may ask and expect.
type tcpKind struct {
	Send   string         `json:"send"`
	Expect *regexp.Regexp `json:"expect"`
	Reset  bool           `json:"reset"`
}

func (k *tcpKind) prober(to netip.AddrPort, from health.Source) health.Prober {
	return health.TCP{Addr: to, Source: from, Send: k.Send, Expect: k.Expect, Reset: k.Reset}
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

func (k *httpKind) prober(to netip.AddrPort, from health.Source) health.Prober {
	return k.plain(to, from)
}

func (k *httpKind) plain(to netip.AddrPort, from health.Source) health.HTTP {
	url := health.URL{Path: k.Path, Host: k.Host, Method: k.Method, Status: k.Status, Body: k.Body, Digest: k.Digest}
	return health.HTTP{Addr: to, Source: from, URLs: []health.URL{url}, Reset: k.Reset}
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

func (k *httpsKind) prober(to netip.AddrPort, from health.Source) health.Prober {
	p := k.plain(to, from)
	p.TLS, p.MinValidity = k.config(), time.Duration(k.MinValidity)
	return p
}

// scriptKind runs a program. {addr} and {port} in its arguments are the real
// server's. It knows nothing of sources and marks.
type scriptKind struct {
	Command []string `json:"command"`
	Dynamic bool     `json:"dynamic"`
}

func (k *scriptKind) prober(to netip.AddrPort, _ health.Source) health.Prober {
	fill := strings.NewReplacer("{addr}", to.Addr().String(), "{port}", strconv.Itoa(int(to.Port())))
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
