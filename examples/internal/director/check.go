package director

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/ipvs"
)

// A checkFile is the "check" of a service: how each of its real servers is
// watched. Its kind decides which fields there are besides these.
type checkFile struct {
	Kind       string     `json:"kind"`
	Interval   duration   `json:"interval"`
	Down       duration   `json:"down"`
	Retry      duration   `json:"retry"`
	Timeout    duration   `json:"timeout"`
	Rise       int        `json:"rise"`
	Fall       int        `json:"fall"`
	Port       uint16     `json:"port"`
	Source     netip.Addr `json:"source"`
	ThroughVIP bool       `json:"through_vip"`

	kind kind
	text string // of the file: what is equal shares its probes
}

// A kind makes the prober of one real server.
type kind interface {
	prober(t target) health.Prober
}

// An alone kind goes its own way: it takes no source, and no mark.
type alone interface{ alone() }

// target is what is probed, and how.
type target struct {
	to     netip.AddrPort
	from   health.Source
	pinger *health.Pinger // of all checks
}

// read is called by strictValue.
func (c *checkFile) read(path string, raw []byte) error {
	var first struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(raw, &first); err != nil {
		return at(path, errors.New(`want an object with a "kind"`))
	}
	fresh, known := kinds[first.Kind]
	if !known {
		return at(path+".kind", fmt.Errorf("%q: want one of %s", first.Kind, strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")))
	}
	c.kind, c.text = fresh(), string(raw)
	return strict(path, raw, c, c.kind)
}

// of is the check of one real server.
func (c *checkFile) of(t target) health.Check {
	if c.Port != 0 {
		t.to = netip.AddrPortFrom(t.to.Addr(), c.Port)
	}
	if c.Source.IsValid() {
		t.from.Addr = c.Source
	}
	check := health.Check{
		Prober:   c.kind.prober(t),
		Interval: time.Duration(c.Interval), DownInterval: time.Duration(c.Down), RetryInterval: time.Duration(c.Retry),
		Timeout: time.Duration(c.Timeout), Rise: c.Rise, Fall: c.Fall,
	}
	if t.from.Mark == 0 { // two services that ask the same of one server share the probes
		check.Key = t.to.String() + " " + c.text
	}
	return check
}

// validate finds what is wrong with the check of a real server: a Monitor that does
// not run takes it or not.
func (c *checkFile) validate(s service, real netip.AddrPort) error {
	if c.ThroughVIP && s.forward == ipvs.ForwardMasq {
		return at("through_vip", errors.New("it is for dr and tun: with nat a real server does not have the virtual address"))
	}
	if _, ok := c.kind.(alone); ok && c.ThroughVIP {
		return at("through_vip", fmt.Errorf("not with %q: IPVS takes TCP, UDP and SCTP", c.Kind))
	} else if ok && c.Source.IsValid() {
		return at("source", fmt.Errorf("not with %q", c.Kind))
	}
	pinger, err := health.NewPinger(health.PingerConfig{})
	if err != nil {
		return err
	}
	m, err := health.New(health.Config{})
	if err != nil {
		return err
	}
	return m.Set("", c.of(target{to: real, pinger: pinger}))
}
