package userspace

import (
	"net/netip"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// A destination that is removed goes to the trash, as in the kernel
// (net/netfilter/ipvs/ip_vs_ctl.c, __ip_vs_del_dest): added again to its service
// it has the connections and counters that it had.

// trashPeriod is how long a destination without connections is remembered
// (IP_VS_DEST_TRASH_PERIOD; the kernel looks once a minute).
const trashPeriod = 2 * time.Minute

// trashed names a destination in the trash.
type trashed struct {
	service ipvs.ServiceID
	addr    netip.AddrPort
}

// discard puts a destination that has left its service into the trash, and cuts
// its connections.
func (e *Engine) discard(d *destination) {
	now := e.now()
	e.sweep(now)
	d.removed, d.idle = true, now
	e.trash[trashed{d.service.ID, d.Addr}] = d
	for c := d.conns.head; c != nil; c = c.next {
		if c.owner != nil {
			c.owner.cut()
		}
	}
}

// recall makes the destination of a service that is to be added: that of the
// trash, if it is there.
func (e *Engine) recall(s *service, wanted ipvs.Destination) *destination {
	now := e.now()
	e.sweep(now)
	key := trashed{s.ID, wanted.Addr}
	d := e.trash[key]
	switch {
	case d == nil || d.forgotten(now):
		d = &destination{service: s}
		d.stats.begin(now)
	case d.service != s: // that service was removed, this one has the same name
		d.service = s
		d.stats.zero(now)
	default:
		d.stats.rates.resume(now)
	}
	delete(e.trash, key)
	d.removed = false
	d.set(wanted)
	return d
}

// forgotten tells that nothing has used the destination for long enough.
func (d *destination) forgotten(now time.Duration) bool {
	return d.active+d.inactive+d.persistent == 0 && now-d.idle >= trashPeriod
}

// sweep looks through the trash once a period, so that it costs little however
// much is removed.
func (e *Engine) sweep(now time.Duration) {
	if now < e.sweepAt {
		return
	}
	e.sweepAt = now + trashPeriod
	for key, d := range e.trash {
		if d.forgotten(now) {
			delete(e.trash, key)
		}
	}
}
