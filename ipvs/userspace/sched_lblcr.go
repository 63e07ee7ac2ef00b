package userspace

import (
	"slices"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// replicated is lblcr (ip_vs_lblcr.c): an address has a set of destinations,
// which grows when the best of them is congested, and loses the most loaded one
// when it has not changed for a day.
type replicated struct{ cache localities[replicas] }

// replicas are the destinations of an address, the newest first.
type replicas struct {
	dests    []*destination
	modified time.Duration
}

func newReplicated() *replicated { return &replicated{} }

func (*replicated) changed(*service, ipvs.ChangeOp, *destination) {}

func (c *replicated) pick(s *service, f flow) *destination {
	addr := f.virtual.Addr()
	l := c.cache.find(addr, f.now)
	if l == nil {
		d := weightedLeast(s, f)
		if d != nil {
			c.cache.add(addr, f.now, replicas{[]*destination{d}, f.now})
		}
		return d
	}
	set := &l.what
	d := set.least()
	if len(set.dests) > 1 && f.now > set.modified+localityExpire {
		set.shrink(f.now)
	}
	if d != nil && !congested(s, d) {
		return d
	}
	if d = weightedLeast(s, f); d != nil && !slices.Contains(set.dests, d) {
		set.dests = slices.Insert(set.dests, 0, d)
		set.modified = f.now
	}
	return d
}

// least is the one with the smallest load for its weight.
func (r *replicas) least() (least *destination) {
	for _, d := range r.dests {
		if d.usable() && (least == nil || least.overhead()*int64(d.Weight) > d.overhead()*int64(least.Weight)) {
			least = d
		}
	}
	return least
}

// shrink drops the one with the largest load for its weight. Those of weight 0
// stay, and so do removed ones until it is their turn.
func (r *replicas) shrink(now time.Duration) {
	most := -1
	for i, d := range r.dests {
		if d.Weight <= 0 {
			continue
		}
		if most < 0 || r.dests[most].overhead()*int64(d.Weight) < d.overhead()*int64(r.dests[most].Weight) {
			most = i
		}
	}
	if most >= 0 {
		r.dests = slices.Delete(r.dests, most, most+1)
		r.modified = now
	}
}
