package userspace

import (
	"net/netip"
	"slices"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// What lblc and lblcr remember, and for how long (ip_vs_lblc.c, ip_vs_lblcr.c).
const (
	localityCheck  = time.Minute     // between two looks at what may be forgotten
	localityFull   = 30              // every so many looks are thorough
	localityExpire = 24 * time.Hour  // a thorough look forgets what was not used for as long
	localityStale  = 6 * time.Minute // others do so if there are too many entries
	localityMost   = 16 * 1024       // entries; with half as many more no new one is made
)

// congested tells whether a destination has more active connections than its
// weight while another has less than half as many.
func congested(s *service, d *destination) bool {
	return d.active > d.Weight && slices.ContainsFunc(s.dests, func(other *destination) bool {
		return other.active*2 < other.Weight
	})
}

// localities are the entries of lblc or lblcr, by virtual address: a service by
// firewall mark has many. E is what is remembered.
type localities[E any] struct {
	entries map[netip.Addr]*locality[E]
	begun   bool
	next    time.Duration // when to look next
	looks   int           // since the last thorough one, from 1
}

type locality[E any] struct {
	used time.Duration
	what E
}

// find is the entry of an address, nil if there is none. It is used by that.
func (ls *localities[E]) find(addr netip.Addr, now time.Duration) *locality[E] {
	ls.tidy(now)
	l := ls.entries[addr]
	if l != nil {
		l.used = now
	}
	return l
}

// add makes an entry, if there are not far too many.
func (ls *localities[E]) add(addr netip.Addr, now time.Duration, what E) {
	if len(ls.entries) >= localityMost*3/2 {
		return
	}
	if ls.entries == nil {
		ls.entries = map[netip.Addr]*locality[E]{}
	}
	ls.entries[addr] = &locality[E]{used: now, what: what}
}

// tidy makes the looks that are due. The kernel's timer begins with the service,
// this one with its first connection.
func (ls *localities[E]) tidy(now time.Duration) {
	if !ls.begun {
		ls.begun, ls.next, ls.looks = true, now+localityCheck, 1
	}
	for ; ls.next <= now; ls.next += localityCheck {
		switch {
		case ls.looks%localityFull == 0:
			ls.forget(ls.next-localityExpire, len(ls.entries))
			ls.looks = 1
		case len(ls.entries) <= localityMost:
			ls.looks++
		default:
			ls.forget(ls.next-localityStale, min((len(ls.entries)-localityMost)*4/3, localityMost/2))
		}
	}
}

// forget drops entries not used since a time, any so many of them.
func (ls *localities[E]) forget(since time.Duration, n int) {
	for addr, l := range ls.entries {
		if n <= 0 {
			return
		}
		if l.used <= since {
			delete(ls.entries, addr)
			n--
		}
	}
}

// localityLeast is lblc (ip_vs_lblc.c): an address stays with its destination
// until that is congested, has weight 0 or is gone. Neither the kernel nor this
// looks at thresholds there.
type localityLeast struct{ cache localities[*destination] }

func newLocality() *localityLeast { return &localityLeast{} }

func (*localityLeast) changed(*service, ipvs.ChangeOp, *destination) {}

func (c *localityLeast) pick(s *service, f flow) *destination {
	addr := f.virtual.Addr()
	l := c.cache.find(addr, f.now)
	if l != nil {
		if d := l.what; !d.removed && d.Weight > 0 && !congested(s, d) {
			return d
		}
	}
	d := weightedLeast(s, f)
	switch {
	case d == nil:
	case l == nil:
		c.cache.add(addr, f.now, d)
	default:
		l.what = d
	}
	return d
}
