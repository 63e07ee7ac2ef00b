package userspace

import (
	"net/netip"
	"testing"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

func TestLocality(t *testing.T) {
	for _, tc := range []struct {
		name      string
		scheduler ipvs.Scheduler
		script    string
	}{
		// The address stays while its destination has no more connections than
		// its weight, or nobody else has less than half of theirs.
		{"lblc stays, and leaves a congested one", "lblc", "+a4 +b4 *bbbbb *aaaaaaa"},
		{"lblc stays where all are loaded", "lblc", "+a1 +b1 *bb *a *aa"},
		{"lblc leaves weight 0", "lblc", "+a4 +b4 *b ~b0 *aa ~b4 *a"},
		{"lblc leaves a removed one", "lblc", "+a4 +b4 *b -b *aa"},
		{"lblc does not look at thresholds", "lblc", "+a4 +b4^1 *bbb"},
		{"lblc has nobody", "lblc", "+a0 *. ~a1 *a"},
		{"lblcr stays, and takes another one in", "lblcr", "+a4 +b4 *bbbbb *aaaaaab"},
		{"lblcr leaves weight 0", "lblcr", "+a4 +b4 *b ~b0 *aa ~b4 *b"},
		{"lblcr leaves a removed one", "lblcr", "+a4 +b4 *b -b *aa"},
		{"lblcr looks at thresholds", "lblcr", "+a4 +b4^1 *baa /b *b"},
		{"lblcr has nobody", "lblcr", "+a0 *. ~a1 *a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			newScript(t, ipvs.Service{Scheduler: tc.scheduler}).play(tc.script)
		})
	}
}

// TestReplicasShrink lets a set lose its most loaded member after a day.
func TestReplicasShrink(t *testing.T) {
	p := newScript(t, ipvs.Service{Scheduler: ipvs.LBLCR})
	p.play("+a4 +b4 +c0 *bbbbb *a")
	members := func() (names string) {
		for _, d := range p.s.sched.(*replicated).cache.entries[p.s.ID.Addr.Addr()].what.dests {
			names += nameOf(d)
		}
		return names
	}
	if got := members(); got != "ab" {
		t.Fatalf("the set is %s", got)
	}
	for range 24 { // not one moment longer than a day: nothing happens
		p.now += time.Hour
		p.play("=a")
	}
	if got := members(); got != "ab" {
		t.Errorf("after a day the set is %s", got)
	}
	p.now++
	p.play("=a")
	if got := members(); got != "a" {
		t.Errorf("after more than a day the set is %s", got)
	}
}

func TestLocalityForgets(t *testing.T) {
	p := newScript(t, ipvs.Service{ID: ipvs.ServiceID{FWMark: 1}, Scheduler: ipvs.LBLC})
	p.play("+a4 +b4")
	to := func(i int) {
		virtual := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
		p.s.sched.pick(p.s, flow{virtual: virtual, now: p.now})
	}
	c := p.s.sched.(*localityLeast)
	to(1)
	for range 24*60 - 1 { // the thorough look after exactly a day forgets it
		p.now += time.Minute
		to(2)
	}
	if n := len(c.cache.entries); n != 2 {
		t.Errorf("%d entries before a day is over", n)
	}
	p.now += time.Minute
	to(2)
	if n := len(c.cache.entries); n != 1 {
		t.Errorf("%d entries after a day", n)
	}

	for i := range localityMost + 300 {
		to(i)
	}
	p.now += localityStale - time.Second
	to(2)
	if n := len(c.cache.entries); n != localityMost+300 {
		t.Errorf("%d entries while all are fresh", n)
	}
	p.now += 2 * time.Minute
	to(2)
	if n := len(c.cache.entries); n > localityMost || n < localityMost-100 {
		t.Errorf("%d entries after a look at too many", n)
	}
	for i := range 2 * localityMost {
		to(i)
	}
	if n := len(c.cache.entries); n != localityMost*3/2 {
		t.Errorf("%d entries, though no more are made", n)
	}
	p.now += 10000 * time.Hour // one look after a long time without connections
	to(2)
	if n := len(c.cache.entries); n != 1 {
		t.Errorf("%d entries after a year", n)
	}
}

func TestCongested(t *testing.T) {
	for _, tc := range []struct {
		active, weight, others int // of the destination; of another one of weight 4
		want                   bool
	}{
		{5, 4, 1, true},
		{5, 4, 2, false}, // half of its weight is not less than half
		{4, 4, 0, false},
		{0, 0, 0, false},
		{1, 0, 0, true},
	} {
		d := &destination{Destination: ipvs.Destination{Weight: tc.weight}, active: tc.active, inactive: 100}
		other := &destination{Destination: ipvs.Destination{Weight: 4}, active: tc.others, inactive: 100}
		if got := congested(&service{dests: []*destination{d, other}}, d); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}
