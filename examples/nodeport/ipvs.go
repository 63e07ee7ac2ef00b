package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/nat"
	"github.com/lvskit/lvskit/sysctl"
)

// director is the kernel's IPVS. It rewrites the destination of what is asked of the
// virtual address to a node's, and nat's rule the source to this machine's own:
// the nodes' gateway is another, and they would answer the client past IPVS.
type director struct {
	service
	rule     nat.Rule
	backend  nat.Backend
	kernel   []sysctl.Setting
	settings *sysctl.Client
	table    *ipvs.Client // nil before open
	rules    *nat.Table   // nil before open
}

func newDirector(s service, backend nat.Backend) (*director, error) {
	vip := s.vip.Addr()
	d := &director{
		service: s, backend: backend,
		rule: nat.Rule{
			Name: "nodeport", Action: nat.Masquerade, Protocol: nat.TCP, Out: s.iface, Random: true,
			Original: netip.PrefixFrom(vip, vip.BitLen()), OriginalPort: nat.Port(s.vip.Port()),
		},
	}
	err := d.rule.Validate()
	if err != nil {
		return nil, err
	}
	d.kernel, err = sysctl.Merge(sysctl.AnyDirector(), sysctl.DirectorNAT(sysctl.Director{
		Interfaces: []string{s.iface}, IPv4: vip.Is4(), IPv6: vip.Is6(),
		Conntrack: true, // or the rule is not looked at
	}))
	if err != nil {
		return nil, err
	}
	d.settings, err = sysctl.New(sysctl.Config{Record: filepath.Join(s.run, "sysctl")})
	return d, err
}

// open makes the settings. Opening IPVS's table loads it, and with it come some of
// them.
func (d *director) open(ctx context.Context) (err error) {
	if d.table, err = ipvs.Open(ipvs.Config{}); err != nil {
		return err
	}
	if _, err := d.table.Info(ctx); err != nil { // whether it may be used
		return err
	}
	if d.rules, err = nat.Open(nat.Config{Name: "nodeport", Backend: d.backend}); err != nil {
		return err
	}
	changes, err := d.settings.Apply(ctx, d.kernel)
	show(changes)
	return err
}

// checks are one for each node.
func (d *director) checks() map[string]health.Check {
	checks := map[string]health.Check{}
	for _, n := range d.nodes {
		checks[n.String()] = health.Check{
			Prober:   health.TCP{Addr: n, Reset: true},
			Interval: d.interval, RetryInterval: d.interval / 2, Timeout: time.Second, Fall: 2,
		}
	}
	return checks
}

// balance makes rule and service what they are to be, with the nodes that live.
// What others have taken away comes back so too. Both are also there where the
// virtual address is not: when it comes, all is ready. Until all nodes are known it
// leaves what a killed predecessor has made as it is, for the connections.
func (d *director) balance(ctx context.Context, checks map[string]health.Status) (serves bool, err error) {
	want := ipvs.Service{ID: d.id(), Scheduler: ipvs.RR}
	for _, n := range d.nodes {
		switch checks[n.String()].State {
		case health.Unknown:
			return false, nil
		case health.Up:
			want.Destinations = append(want.Destinations, ipvs.Destination{Addr: n, Weight: 1, Forward: ipvs.ForwardMasq})
		}
	}
	rules, err := d.rules.Apply(ctx, []nat.Rule{d.rule})
	show(rules)
	if err != nil {
		return false, err
	}
	services, err := d.table.Apply(ctx, []ipvs.Service{want}, ipvs.Policy{})
	show(services)
	return err == nil && len(want.Destinations) > 0, err
}

func (d *director) id() ipvs.ServiceID { return ipvs.ServiceID{Protocol: ipvs.TCP, Addr: d.vip} }

// close removes service and rule, and puts the settings back.
func (d *director) close(ctx context.Context) error {
	var errs []error
	if d.table != nil {
		_, err := d.table.Apply(ctx, nil, ipvs.Policy{Owns: func(id ipvs.ServiceID) bool { return id == d.id() }})
		errs = append(errs, err, d.table.Close())
	}
	if d.rules != nil {
		errs = append(errs, d.rules.Clear(ctx), d.rules.Close())
	}
	changes, err := d.settings.Recorded(ctx) // those of a killed predecessor too
	_, _, errSettings := d.settings.Restore(ctx, changes)
	return errors.Join(append(errs, err, errSettings)...)
}

func show[C fmt.Stringer](changes []C) {
	for _, c := range changes {
		fmt.Println(c)
	}
}
