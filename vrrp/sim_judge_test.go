package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// judge looks at everything from outside and knows what must never be.
type judge struct {
	w       *world
	verdict string
	seq     int
	boots   []int
	routers [][]*record // by host and link
	ticks   int         // at one moment
	tickAt  time.Duration
	changes int           // transitions since the rest began
	worst   time.Duration // the longest Active_Down_Interval
	calm    time.Duration // from then on there must be one Active router
	twoFrom time.Duration // since when there is another number of them
	two     bool
}

// record is what the judge knows of one router.
type record struct {
	state    State
	held     bool
	spoken   bool          // it has advertised in this step
	lastSent time.Duration // local, in this reign
	heard    time.Duration // local: when an advertisement was heard that must be respected,
	until    time.Duration // and until when
	from     netip.Addr    // it came
	strong   uint8         // with this priority
	tokens   float64
	filled   time.Duration
	rivals   map[netip.Addr]bool
	wrong    map[Reason]bool // faults that it was told of
}

func newJudge(w *world) *judge {
	j := &judge{w: w, boots: make([]int, len(w.sc.hosts)), tickAt: -1}
	for range w.sc.hosts {
		j.routers = append(j.routers, make([]*record, w.sc.links))
	}
	return j
}

func (j *judge) broken() bool { return j.verdict != "" }

func (j *judge) fail(format string, args ...any) {
	if j.verdict == "" {
		j.verdict = fmt.Sprintf("at %v: ", j.w.now) + fmt.Sprintf(format, args...)
		j.w.note("BROKEN: %s", j.verdict)
	}
}

func (j *judge) boot(h *host, l int) {
	if l == 0 {
		j.boots[h.id]++
	}
	j.routers[h.id][l] = &record{tokens: 12, filled: h.local(j.w.now), until: -1 << 62, rivals: map[netip.Addr]bool{}, wrong: map[Reason]bool{}}
}

// tick counts ticks at one moment: a machine that is never content with one would
// spin.
func (j *judge) tick() {
	if j.tickAt != j.w.now {
		j.tickAt, j.ticks = j.w.now, 0
	}
	if j.ticks++; j.ticks > 100 {
		j.fail("a machine spins")
	}
}

// before notes what the router is about to hear: an advertisement that it has to
// respect keeps it Backup for an Active_Down_Interval.
func (j *judge) before(h *host, l int, local time.Duration, in input) {
	r, m, cfg := j.routers[h.id][l], h.ms[l], h.cfgs[l]
	r.spoken = false
	if in.kind == inFault {
		if r.wrong[in.fault] = true; !in.on {
			delete(r.wrong, in.fault)
		}
	}
	if in.kind == inConfig {
		r.forget() // its own patience has changed, and that of the others
		r.tokens, r.lastSent = 12, local
	}
	if in.kind != inAdvert && in.kind != inBeat {
		return
	}
	if in.priority == 0 {
		if in.kind == inAdvert {
			r.forget()
		}
		return
	}
	interval := in.interval
	if cfg.Version == V2 {
		interval = cfg.Interval
	}
	until := local + time.Duration(cfg.DownCount)*interval
	switch {
	case in.priority >= m.priority || cfg.NoPreempt && m.priority != owner:
		j.respect(r, in, local, until)
	case in.kind == inBeat || cfg.PreemptDelay > 0: // it may be respected, and its interval learned
		r.until, r.strong = min(r.until, until), 0
	}
}

// respect: a better Active router decides how long it is waited for; one that has to
// give way to the other that was heard does not shorten it.
func (j *judge) respect(r *record, in input, local, until time.Duration) {
	r.heard = local
	if in.priority < r.strong && in.from != r.from && until < r.until {
		return
	}
	r.strong, r.from, r.until = in.priority, in.from, until
}

// forget: no Active router has to be respected.
func (r *record) forget() { r.until, r.strong = -1<<62, 0 }

func (j *judge) action(h *host, l int, a action, local time.Duration) {
	r, cfg := j.routers[h.id][l], h.cfgs[l]
	switch a.kind {
	case actAdvertise:
		j.spend(h, l, local)
		limit := time.Duration(cfg.DownCount)*cfg.Interval + skew(cfg.Version, 1, cfg.Interval)
		if r.state == Active && a.priority != 0 && local-r.lastSent > limit {
			j.fail("host %d link %d is Active after %v of silence", h.id, l, local-r.lastSent)
		}
		r.spoken, r.lastSent = true, local
	case actAcquire:
		if !r.spoken {
			j.fail("host %d link %d acquires before it advertises", h.id, l)
		}
		r.held = true
	case actRelease:
		r.held = false
	case actAnnounce:
		if !r.held {
			j.fail("host %d link %d announces what it does not hold", h.id, l)
		}
	case actEvent:
		j.event(h, l, a.event, local)
	}
}

// spend bounds the rate of advertisements: 8 in an interval, 12 at once.
func (j *judge) spend(h *host, l int, local time.Duration) {
	r, interval := j.routers[h.id][l], h.cfgs[l].Interval
	r.tokens = min(12, r.tokens+8*float64(local-r.filled)/float64(interval))
	r.filled = local
	if r.tokens--; r.tokens < 0 {
		j.fail("host %d link %d floods", h.id, l)
	}
}

func (j *judge) event(h *host, l int, e Event, local time.Duration) {
	r := j.routers[h.id][l]
	switch e.Kind {
	case TwoActive:
		if r.rivals[e.Peer.Addr] || r.state != Active {
			j.fail("host %d link %d tells twice, or not Active, of %v", h.id, l, e.Peer.Addr)
		}
		r.rivals[e.Peer.Addr] = true
	case Healed:
		if !r.rivals[e.Peer.Addr] {
			j.fail("host %d link %d is healed of %v without having told", h.id, l, e.Peer.Addr)
		}
		delete(r.rivals, e.Peer.Addr)
	case Transition:
		j.transition(h, l, e, local)
	}
}

// edges are the transitions that exist; Fault to Active is for the owner.
var edges = map[[2]State]bool{
	{Initialize, Backup}: true, {Initialize, Active}: true, {Initialize, Fault}: true,
	{Backup, Active}: true, {Backup, Fault}: true, {Backup, Initialize}: true,
	{Active, Backup}: true, {Active, Fault}: true, {Active, Initialize}: true,
	{Fault, Backup}: true, {Fault, Active}: true, {Fault, Initialize}: true,
}

func (j *judge) transition(h *host, l int, e Event, local time.Duration) {
	r := j.routers[h.id][l]
	if e.From != r.state || !edges[[2]State{e.From, e.To}] || e.Reason == 0 {
		j.fail("host %d link %d was %v and tells of %v -> %v: %v", h.id, l, r.state, e.From, e.To, e.Reason)
	}
	if e.Priority != h.ms[l].priority {
		j.fail("host %d link %d has priority %d and tells of %d", h.id, l, h.ms[l].priority, e.Priority)
	}
	if e.From == Active && len(r.rivals) > 0 {
		j.fail("host %d link %d leaves rivals behind", h.id, l)
	}
	if e.To == Active && e.From == Backup && e.Reason != ReasonUpdate && local < r.until {
		j.fail("host %d link %d displaces a live Active router (%v), heard %v ago", h.id, l, e.Reason, local-r.heard)
	}
	if e.To == Active || e.From == Active {
		r.tokens++ // what it sends then is not counted
	}
	if r.state = e.To; r.state == Backup && e.Reason != ReasonHigher && e.Reason != ReasonTie {
		r.forget()
	}
	j.changes++
}

// after checks what must be true between two steps.
func (j *judge) after(h *host, local time.Duration) {
	active, faults, wrong, owners, started := 0, 0, 0, 0, true
	for l, m := range h.ms {
		r := j.routers[h.id][l]
		if m.state != r.state {
			j.fail("host %d link %d is %v and has told of %v", h.id, l, m.state, r.state)
		}
		if r.held != (m.state == Active) {
			j.fail("host %d link %d is %v and holds the addresses: %v", h.id, l, m.state, r.held)
		}
		wrong += len(r.wrong)
		if m.priority == owner {
			owners++
		}
		switch m.state {
		case Active:
			active++
		case Fault:
			faults++
		case Initialize:
			started = false
		}
	}
	if started && (active != 0 && active != len(h.ms) || faults != 0 && faults != len(h.ms)) {
		j.fail("the members of host %d disagree: %d Active, %d in Fault", h.id, active, faults)
	}
	if started && (wrong > 0 && faults == 0 || wrong == 0 && faults > 0 && owners == 0) {
		j.fail("host %d has %d faults and %d members in Fault", h.id, wrong, faults)
	}
	if j.w.quiet {
		j.count()
	}
}

// rest begins: nothing happens from now on. Within an Active_Down_Interval and a
// little there must be one Active router; it returns when.
func (j *judge) rest() time.Duration {
	var longest, worst time.Duration
	owners := 0
	for _, h := range j.w.hosts {
		for l, m := range h.ms {
			longest = max(longest, h.cfgs[l].Interval, m.wait.learned)
			if h.cfgs[l].Priority == owner {
				owners++
			}
		}
	}
	for _, h := range j.w.hosts {
		if !h.up {
			continue
		}
		for l, m := range h.ms {
			cfg := h.cfgs[l]
			wait := time.Duration(cfg.DownCount)*longest + skew(cfg.Version, m.priority, longest) + cfg.TakeoverDelay
			wait += max(0, m.notBefore-h.local(j.w.now))
			if cfg.Witness != nil {
				wait += cfg.Interval
			}
			worst = max(worst, wait)
		}
	}
	e := longest/2 + 4*j.w.sc.latency + worst/1000 // losers give way; clocks differ
	if owners > 1 {
		e += worst
	}
	if j.w.sc.links > 1 {
		e += 4 * (worst + longest)
	}
	j.calm, j.two, j.changes, j.worst = j.w.now+worst+e, false, 0, worst
	return j.calm
}

// count wants one Active router on each link after the calm; two may meet for the
// time that a message takes while one displaces the other.
func (j *judge) count() {
	if j.w.now < j.calm || j.broken() {
		return
	}
	for l := range j.w.sc.links {
		active, able := 0, 0
		for _, h := range j.w.hosts {
			if h.up && h.ms[l].state == Active {
				active++
			}
			if h.up && h.ms[l].state != Fault {
				able++
			}
		}
		switch {
		case active == min(able, 1):
			continue
		case active == 0:
			j.fail("nobody is Active on link %d", l)
		case !j.two:
			j.two, j.twoFrom = true, j.w.now
			return
		case j.w.now > j.twoFrom+4*j.w.sc.latency:
			j.fail("%d are Active on link %d", active, l)
		}
		return
	}
	j.two = false
}

// end is after the rest: the best has won, and nobody flaps.
func (j *judge) end() {
	j.count()
	if limit := 8 * len(j.w.hosts) * j.w.sc.links; j.changes > limit {
		j.fail("%d transitions while nothing happened", j.changes)
	}
	for l := range j.w.sc.links {
		var winner *machine
		for _, h := range j.w.hosts {
			if h.up && h.ms[l].state == Active {
				winner = h.ms[l]
			}
		}
		for _, h := range j.w.hosts {
			if winner == nil || !h.up || h.ms[l].state != Backup || j.w.sc.links > 1 {
				continue
			}
			c := h.cfgs[l]
			if h.ms[l].priority > winner.priority && (!c.NoPreempt || c.Priority == owner) && j.w.now > j.calm+c.PreemptDelay+j.worst {
				j.fail("host %d of priority %d waits for one of %d", h.id, h.ms[l].priority, winner.priority)
			}
		}
	}
}
