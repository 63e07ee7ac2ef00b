package userspace

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/lvskit/lvskit/ipvs"
)

// TestChoicesByPersistence plays random events to persistent services: the
// templates are compared too.
func TestChoicesByPersistence(t *testing.T) {
	v4, v6 := udpID("10.3.0.1:53"), udpID("[fd03::1]:53")
	minute := ipvs.Persistence{Timeout: time.Minute}
	net24 := ipvs.Persistence{Timeout: time.Minute, Mask: 24}
	for _, s := range []ipvs.Service{
		{ID: v4, Scheduler: ipvs.RR, Persistence: minute},
		{ID: v4, Scheduler: ipvs.WRR, Persistence: net24},
		{ID: v4, Scheduler: ipvs.LC, Persistence: ipvs.Persistence{Timeout: time.Minute, Mask: ipvs.MaskAll}},
		{ID: v6, Scheduler: ipvs.WLC, Persistence: ipvs.Persistence{Timeout: time.Minute, Mask: 80}},
		{ID: udpID("10.3.0.1:0"), Scheduler: ipvs.RR, Persistence: minute},
		{ID: udpID("10.3.0.1:21"), Scheduler: ipvs.RR, Persistence: minute}, // templates of all ports, as FTP's
		{ID: ipvs.ServiceID{FWMark: 0x01020304}, Scheduler: ipvs.SH, Flags: ipvs.SHPort, Persistence: net24},
		{ID: ipvs.ServiceID{FWMark: 9, Family: ipvs.IPv6}, Scheduler: ipvs.RR, Persistence: minute},
		{ID: v4, Scheduler: ipvs.RR, Flags: ipvs.OnePacket, Persistence: net24},
	} {
		t.Run(fmt.Sprintf("%s %s %d", s.Scheduler, s.ID, s.Persistence.Mask), func(t *testing.T) {
			d := newDuel(t, s)
			if s.ID.FWMark == 0 && s.ID.Addr.Port() == 0 {
				for i := range d.pool {
					d.pool[i] = netip.AddrPortFrom(d.pool[i].Addr(), 0)
				}
			}
			for range 18 {
				d.step(d.packets)
			}
			d.counts()
			d.templates()
			t.Logf("%d connections, %d with nobody, %d templates", len(d.all), d.nobody(), len(d.service().templates.byKey))
		})
	}
}

// templates compares those of both sides, but for the state, which says whether
// a real server has answered.
func (d *duel) templates() {
	d.t.Helper()
	list := func(table ipvs.Table) (all []ipvs.Connection) {
		for c, err := range table.Connections(background) {
			must(d.t, err)
			if c.Template() {
				if c.Expires < 40*time.Second || c.Expires > time.Minute {
					d.t.Errorf("%+v expires oddly", c)
				}
				c.Expires, c.State, c.Origin = 0, "", 0
				all = append(all, c)
			}
		}
		slices.SortFunc(all, func(a, b ipvs.Connection) int { return cmp.Compare(a.Client.String(), b.Client.String()) })
		return all
	}
	if diff := diff.Diff(list(d.kernel), list(d.engine), diff.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		d.t.Errorf("templates: - kernel, + engine\n%s", diff)
	}
}

// TestChoicesAfterTimeouts lets templates and connections of short times end.
func TestChoicesAfterTimeouts(t *testing.T) {
	t.Parallel()
	id := udpID("10.3.0.1:53")
	d := newDuel(t, ipvs.Service{ID: id, Scheduler: ipvs.RR, Persistence: ipvs.Persistence{Timeout: 6 * time.Second}})
	for _, addr := range d.pool[:3] {
		d.add(ipvs.Destination{Addr: addr, Forward: ipvs.ForwardMasq, Weight: 1})
	}
	d.packets(20) // they stay for five minutes, and their templates with them
	d.both(func(table ipvs.Table) error {
		return table.SetTimeouts(background, ipvs.Timeouts{UDP: 2 * time.Second})
	})
	from := len(d.all)
	d.packets(20)
	d.compare()
	for len(d.chosen()) > from {
		time.Sleep(50 * time.Millisecond)
	}
	for _, p := range d.all[from:] {
		d.engine.leave(p.c)
	}
	time.Sleep(4 * time.Second)
	d.counts()
	if n := len(d.service().templates.byKey); n == 0 || n >= 40 {
		t.Errorf("%d templates are left", n)
	}
	for _, tpl := range d.service().templates.byKey {
		if tpl.controls == 0 {
			t.Errorf("%+v controls nothing", tpl.templateKey)
		}
	}
	for c, err := range d.kernel.Connections(background) {
		must(t, err)
		if c.Template() && c.Expires < 30*time.Second {
			t.Errorf("the kernel's %+v was not prolonged", c)
		}
	}
	d.packets(20)
	d.counts()
}
