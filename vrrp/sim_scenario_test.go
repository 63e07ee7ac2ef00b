package vrrp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// scenario is all that a run needs; it is made from a seed, and may be made
// smaller.
type scenario struct {
	seed    uint64
	links   int
	crossed bool // addresses are in opposite order on the two links
	second  bool // there is a second path
	latency time.Duration
	hosts   []hostPlan
	rounds  []round
	noise   noise // of the round that runs
}

type hostPlan struct {
	cfg    Config
	offset time.Duration
	ppm    int64
}

// round is trouble, then rest.
type round struct {
	noise   noise
	trouble []trouble
	length  time.Duration // of the trouble
	rest    time.Duration // on top of the time that convergence may take
}

// noise is what all paths do while there is trouble.
type noise struct {
	loss, dup float64
	slow      time.Duration
	slowShare float64
}

// trouble is something that happens.
type trouble struct {
	at       time.Duration // since the begin of the round
	kind     troubleKind
	host     int
	other    int
	link     int
	duration time.Duration
	value    int
	fault    Reason
}

type troubleKind uint8

const (
	cutPath  troubleKind = iota // from host to other
	isolate                     // host from all, on a link
	stall                       // host, duration; value 1: suspended
	crash                       // host; value 1: it stays dead for this round
	graceful                    // host: SIGTERM, back after duration
	tracker                     // host: sum of weights is value
	fail                        // host, fault, duration
	reprio                      // host: an Update with priority value
	reconf                      // host: an Update with another interval (percent)
	flipMode                    // host: an Update of NoPreempt and PreemptDelay
	vetoes                      // host: the witness says no, duration
	storm                       // host sends a burst of priority 0 (value 0) or 1 on link
	troubles                    // how many there are
)

var troubleNames = [...]string{
	"cut", "isolate", "stall", "crash", "graceful stop", "tracker", "fault", "priority", "interval", "mode", "veto", "storm",
}

func (t trouble) String() string {
	return fmt.Sprintf("%v %s host %d other %d link %d for %v value %d %v",
		t.at, troubleNames[t.kind], t.host, t.other, t.link, t.duration, t.value, t.fault)
}

func newScenario(seed uint64) *scenario {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &scenario{seed: seed, links: 1}
	interval := []time.Duration{
		10 * time.Millisecond, 100 * time.Millisecond, time.Second, time.Second, time.Second, time.Second,
		2 * time.Second, 5 * time.Second, 10 * time.Second, 40950 * time.Millisecond,
	}[r.IntN(10)]
	s.latency = min(interval/50, 3*time.Millisecond)
	if chance(r, 0.25) {
		s.links, s.crossed = 2, chance(r, 0.5)
	}
	s.second = s.links == 1 && chance(r, 0.25)
	base := Config{Version: V3, Interval: interval, DownCount: 3}
	if chance(r, 0.2) {
		base.DownCount = 2 + r.IntN(4)
	}
	if chance(r, 0.2) && interval >= time.Second && interval%time.Second == 0 {
		base.Version = V2
	}
	alike, noPreempt := chance(r, 0.3), chance(r, 0.3)
	for i := range 2 + r.IntN(3) {
		s.hosts = append(s.hosts, newHost(r, base, i, alike, noPreempt))
	}
	if base.Version == V3 && chance(r, 0.2) {
		s.hosts[r.IntN(len(s.hosts))].cfg.Interval = centiseconds(interval * 2 / time.Duration(1+r.IntN(4)))
	}
	for range 1 + r.IntN(12) {
		s.rounds = append(s.rounds, newRound(r, s, interval))
	}
	return s
}

// centiseconds is the nearest interval that v3 can have.
func centiseconds(d time.Duration) time.Duration {
	return min(max(d.Truncate(10*time.Millisecond), 10*time.Millisecond), 40950*time.Millisecond)
}

func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

func newHost(r *rand.Rand, base Config, i int, alike, noPreempt bool) hostPlan {
	p := hostPlan{cfg: base, offset: time.Hour * time.Duration(r.IntN(1000)), ppm: r.Int64N(401) - 200}
	c := &p.cfg
	c.Priority = uint8(250 - 50*i)
	switch {
	case alike:
		c.Priority = 100
	case chance(r, 0.05):
		c.Priority = owner
	case chance(r, 0.3):
		c.Priority = uint8(1 + r.IntN(254))
	}
	c.NoPreempt = noPreempt
	if !noPreempt && chance(r, 0.15) {
		c.PreemptDelay = time.Duration(r.IntN(20)) * c.Interval
	}
	if chance(r, 0.1) {
		c.StartupDelay = time.Duration(r.IntN(10)) * c.Interval
	}
	if chance(r, 0.1) {
		c.TakeoverDelay = time.Duration(r.IntN(3)) * c.Interval / 2
	}
	if chance(r, 0.25) {
		c.Witness = func(context.Context) error { return nil }
	}
	return p
}

func newRound(r *rand.Rand, s *scenario, interval time.Duration) round {
	rd := round{length: interval * time.Duration(1+r.IntN(40)), rest: interval * time.Duration(5+r.IntN(25))}
	if chance(r, 0.4) {
		rd.noise.loss = r.Float64() * 0.6
	}
	if chance(r, 0.3) {
		rd.noise.dup = r.Float64() * 0.5
	}
	if chance(r, 0.3) {
		rd.noise.slow, rd.noise.slowShare = interval*time.Duration(1+r.IntN(3)), r.Float64()
	}
	for range r.IntN(7) {
		rd.trouble = append(rd.trouble, newTrouble(r, s, rd.length, interval))
	}
	slices.SortStableFunc(rd.trouble, func(a, b trouble) int { return int(a.at - b.at) })
	return rd
}

func newTrouble(r *rand.Rand, s *scenario, length, interval time.Duration) trouble {
	n := len(s.hosts)
	t := trouble{
		at: time.Duration(r.Int64N(int64(length))), kind: troubleKind(r.IntN(int(troubles))), host: r.IntN(n), other: r.IntN(n),
		link: r.IntN(s.links), duration: time.Duration(r.Int64N(int64(10 * interval))),
	}
	if s.second && chance(r, 0.4) {
		t.link = secondLink
	}
	switch t.kind {
	case stall, crash, storm:
		t.value = r.IntN(2)
	case tracker:
		t.value = r.IntN(200) - 100
		if s.links > 1 {
			t.value = 0 // a sync group has no weights
		}
	case reprio:
		t.value = 1 + r.IntN(254)
	case reconf:
		t.value = []int{25, 50, 100, 200, 400}[r.IntN(5)]
	case flipMode:
		t.value = r.IntN(3)
	case fail:
		t.fault = []Reason{ReasonLink, ReasonInterface, ReasonSource, ReasonTracker, ReasonBinder}[r.IntN(5)]
	}
	return t
}

// String is a scenario for a person.
func (s *scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d links, crossed %v, second path %v, latency %v\n", s.seed, s.links, s.crossed, s.second, s.latency)
	for i, h := range s.hosts {
		c := h.cfg
		fmt.Fprintf(&b, "  host %d: v%d priority %d interval %v x%d nopreempt %v preemptdelay %v startupdelay %v takeoverdelay %v witness %v, %d ppm\n",
			i, c.Version, c.Priority, c.Interval, c.DownCount, c.NoPreempt, c.PreemptDelay, c.StartupDelay, c.TakeoverDelay, c.Witness != nil, h.ppm)
	}
	for i, r := range s.rounds {
		fmt.Fprintf(&b, "  round %d: %v of trouble, %v of rest, noise %+v\n", i, r.length, r.rest, r.noise)
		for _, t := range r.trouble {
			fmt.Fprintf(&b, "    %v\n", t)
		}
	}
	return b.String()
}

// clone is deep enough for shrinking.
func (s *scenario) clone() *scenario {
	c := *s
	c.hosts, c.rounds = slices.Clone(s.hosts), slices.Clone(s.rounds)
	for i := range c.rounds {
		c.rounds[i].trouble = slices.Clone(c.rounds[i].trouble)
	}
	return &c
}

// smaller are scenarios with a little less in them, the boldest first.
func (s *scenario) smaller() []*scenario {
	var all []*scenario
	try := func(change func(c *scenario)) {
		c := s.clone()
		change(c)
		all = append(all, c)
	}
	for i := range s.rounds {
		if len(s.rounds) > 1 {
			try(func(c *scenario) { c.rounds = slices.Delete(c.rounds, i, i+1) })
		}
	}
	if last := len(s.hosts) - 1; last > 1 {
		try(func(c *scenario) {
			c.hosts = c.hosts[:last]
			for i := range c.rounds {
				c.rounds[i].trouble = slices.DeleteFunc(c.rounds[i].trouble, func(t trouble) bool { return max(t.host, t.other) == last })
			}
		})
	}
	if s.second {
		try(func(c *scenario) { c.second = false })
	}
	for i, r := range s.rounds {
		for j := range r.trouble {
			try(func(c *scenario) { c.rounds[i].trouble = slices.Delete(c.rounds[i].trouble, j, j+1) })
		}
		if r.noise != (noise{}) {
			try(func(c *scenario) { c.rounds[i].noise = noise{} })
		}
		if r.length > s.hosts[0].cfg.Interval {
			try(func(c *scenario) { c.rounds[i].length = r.length / 2 })
		}
	}
	for i, h := range s.hosts {
		if h.ppm != 0 || h.cfg.Witness != nil || h.cfg.PreemptDelay+h.cfg.StartupDelay+h.cfg.TakeoverDelay != 0 {
			try(func(c *scenario) {
				p := &c.hosts[i]
				p.ppm, p.cfg.Witness, p.cfg.PreemptDelay, p.cfg.StartupDelay, p.cfg.TakeoverDelay = 0, nil, 0, 0, 0
			})
		}
	}
	return all
}
