package main

import (
	"net/netip"
	"regexp"

	"github.com/lvskit/lvskit/health"
)

// kinds are the values of "kind", each with a struct of its own fields.
var kinds = map[string]func() kind{
	"tcp": func() kind { return new(tcpKind) },
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
