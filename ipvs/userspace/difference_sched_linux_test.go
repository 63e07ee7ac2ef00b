package userspace

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/lvskit/lvskit/ipvs"
)

func udpID(addr string) ipvs.ServiceID {
	return ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort(addr)}
}

// TestChoicesOfPackets plays random events to the kernel and to the Engine:
// destinations come and go and change, clients send their first packet.
func TestChoicesOfPackets(t *testing.T) {
	t.Parallel()
	v4, v6 := udpID("10.3.0.1:53"), udpID("[fd03::1]:53")
	mark, mark6 := ipvs.ServiceID{FWMark: 7}, ipvs.ServiceID{FWMark: 7, Family: ipvs.IPv6}
	both := ipvs.SHFallback | ipvs.SHPort
	for _, s := range []ipvs.Service{
		{ID: v4, Scheduler: ipvs.RR},
		{ID: v4, Scheduler: ipvs.WRR},
		{ID: v4, Scheduler: ipvs.LC},
		{ID: v4, Scheduler: ipvs.WLC},
		{ID: v4, Scheduler: ipvs.SED},
		{ID: v4, Scheduler: ipvs.NQ},
		{ID: v4, Scheduler: ipvs.FO},
		{ID: v4, Scheduler: ipvs.OVF},
		{ID: v4, Scheduler: ipvs.SH},
		{ID: v4, Scheduler: ipvs.SH, Flags: ipvs.SHFallback},
		{ID: v4, Scheduler: ipvs.SH, Flags: ipvs.SHPort},
		{ID: v6, Scheduler: ipvs.SH, Flags: both},
		{ID: v4, Scheduler: ipvs.MH},
		{ID: v4, Scheduler: ipvs.MH, Flags: ipvs.MHFallback},
		{ID: v4, Scheduler: ipvs.MH, Flags: ipvs.MHPort},
		{ID: v6, Scheduler: ipvs.MH, Flags: both},
		{ID: mark, Scheduler: ipvs.DH},
		{ID: mark6, Scheduler: ipvs.DH},
		{ID: mark, Scheduler: ipvs.LBLC},
		{ID: mark, Scheduler: ipvs.LBLCR},
		{ID: v4, Scheduler: ipvs.NoScheduler},
	} {
		t.Run(fmt.Sprintf("%s %s %#x", s.Scheduler, s.ID, uint32(s.Flags)), func(t *testing.T) {
			d := newDuel(t, s)
			for range 24 {
				d.step(d.packets)
			}
			d.half(d.packets)
			t.Logf("%d connections, %d with nobody", len(d.all), d.nobody())
		})
	}
}

// TestChoicesOfConnections does so with TCP connections, which count as active
// until they end.
func TestChoicesOfConnections(t *testing.T) {
	id := ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("10.3.0.1:80")}
	for _, scheduler := range []ipvs.Scheduler{"lc", "wlc", "sed", "nq", "ovf", "lblc", "lblcr", "wrr"} {
		t.Run(string(scheduler), func(t *testing.T) {
			d := newDuel(t, ipvs.Service{ID: id, Scheduler: scheduler})
			for i := range 16 {
				d.step(d.connections)
				if i%3 == 2 {
					d.end(1 + d.rng.IntN(6))
				}
			}
			d.half(d.connections)
			t.Logf("%d connections, %d with nobody", len(d.all), d.nobody())
		})
	}
}

// TestChoicesAfterChangesOfTheScheduler gives a service one scheduler after the
// other.
func TestChoicesAfterChangesOfTheScheduler(t *testing.T) {
	id := udpID("10.3.0.1:53")
	d := newDuel(t, ipvs.Service{ID: id, Scheduler: ipvs.NoScheduler})
	for range 5 {
		d.step(d.packets)
	}
	for _, scheduler := range []ipvs.Scheduler{"mh", "rr", "wrr", "rr", "none", "sh", "mh", "lblc", "wlc", "lblcr", "dh", "wrr"} {
		d.note("scheduler %s", scheduler)
		d.both(func(table ipvs.Table) error {
			return table.UpdateService(background, ipvs.Service{ID: id, Scheduler: scheduler, Flags: ipvs.MHPort})
		})
		for range 8 {
			d.step(d.packets)
		}
	}
	d.counts()
}

// half gives every second real server weight 0, and the others each another one.
func (d *duel) half(connect func(int)) {
	d.t.Helper()
	for i, addr := range d.pool {
		dst := ipvs.Destination{Addr: addr, Forward: ipvs.ForwardMasq, Weight: i % 2 * (1 + i)}
		if d.service().find(addr) == nil {
			d.add(dst)
		} else {
			d.update(dst)
		}
	}
	connect(24)
	d.counts()
}

func (d *duel) nobody() (n int) {
	for _, p := range d.all {
		if p.c == nil {
			n++
		}
	}
	return n
}
