package health

import (
	"cmp"
	"slices"
	"time"
)

// Member is a real server as a Pool sees it.
type Member struct {
	// ID tells the members of a pool apart. Of two with the same ID the first counts.
	ID string
	// Weight is the configured one. Less than 1 means that a person has taken the
	// member out: it stays with weight 0 while it lives, whatever its checks want, and
	// is in no sum and no share.
	Weight int
	// State is that of its checks. A member is live while it is Up. Unknown is not
	// live: neither is one served before its first result, nor one of which nothing
	// has been known for Check.MaxAge. Start with Check.Initial Up to serve at once.
	State State
	// Change is what the checks of a live member want its weight to be. Of others
	// it is not looked at.
	Change Weight
}

// Policy says what the states of real servers mean for a pool. The zero Policy
// serves those that are live, and removes the others. Where several parts of it
// apply, the first of these does: Sorry, FailOpen, MaxEjected.
type Policy struct {
	// Quorum is the sum of the weights of live members from which on the pool is
	// up; 0 means 1. A pool that is down, as a new one is, comes up at
	// Quorum+Hysteresis; one that is up goes down below Quorum-Hysteresis, or
	// without any weight (keepalived: quorum, hysteresis). The weights are those that
	// results have changed, without SlowStart. Hysteresis must be less than Quorum.
	Quorum, Hysteresis int
	// Sorry says that there is a sorry server: while the pool is down, it alone
	// serves. Without one a pool that is down serves as one that is up does, and
	// Decision.Up is for information.
	Sorry bool
	// FailOpen is the share of members, 0 to 1, below which all serve whatever
	// their state: when most are down it is rather the checks that are wrong, and the
	// rest would drown. It is that of members that are live or have had no result
	// yet, so that a pool does not open because its first result is bad. 0 is
	// never, 0.5 is Envoy's panic threshold.
	FailOpen float64
	// Inhibit keeps members that are not to serve, with weight 0, instead of
	// removing them: their connections go on (keepalived: inhibit_on_failure).
	Inhibit bool
	// MaxEjected is the largest share of members, 0 to 1, that may be out because
	// they failed, rounded down, but at least one member; those that failed last
	// go on with their configured weight. 0 means 1: all.
	MaxEjected float64
	// SlowStart is the time over which the weight of a member that has come to
	// live grows from a tenth to all of it, in 20 steps, and never below 1: it takes a
	// weight of 10 or more to be seen. 0 is none. A member has none that
	// is Up when the Pool first sees it, that was served nevertheless (FailOpen,
	// MaxEjected), or whose first result it is while it was there at the first
	// Decide: a program that starts does not slow down what serves already.
	SlowStart time.Duration
}

func (p Policy) validate() error {
	switch quorum := max(p.Quorum, 1); {
	case p.Quorum < 0, p.Hysteresis < 0:
		return invalid("quorum %d, hysteresis %d: want 0 or more", p.Quorum, p.Hysteresis)
	case p.Hysteresis >= quorum:
		return invalid("hysteresis %d: want less than the quorum, %d", p.Hysteresis, quorum)
	case !(p.FailOpen >= 0 && p.FailOpen <= 1):
		return invalid("fail-open share %v: want 0 to 1", p.FailOpen)
	case !(p.MaxEjected >= 0 && p.MaxEjected <= 1):
		return invalid("largest share ejected %v: want 0 to 1", p.MaxEjected)
	case p.SlowStart < 0:
		return invalid("slow start of %v: want 0 or more", p.SlowStart)
	}
	return nil
}

// Pool applies a Policy. It is pure: it remembers its members, but has no clock of
// its own. It is not safe for concurrent use.
type Pool struct {
	policy  Policy
	up      bool
	begun   bool // Decide has been called
	members map[string]*memory
	ordinal uint64 // of the last failure
}

// memory is what is remembered of a member.
type memory struct {
	first  bool   // it was there at the first Decide
	known  bool   // it has been Up or Down
	live   bool   //
	served bool   // with a weight, by the last decision
	failed uint64 // order in which it ceased to live; 0 while it lives or is not known
	rising rise
}

// NewPool checks the policy. A wrong one matches fs.ErrInvalid.
func NewPool(p Policy) (*Pool, error) {
	pool := &Pool{members: map[string]*memory{}}
	if err := pool.Update(p); err != nil {
		return nil, err
	}
	return pool, nil
}

// Update changes the policy and forgets nothing: a pool that is up stays up until
// a Decide finds it below the new bound. A wrong policy matches fs.ErrInvalid, and
// the Pool goes on with the old one.
func (p *Pool) Update(policy Policy) error {
	if err := policy.validate(); err != nil {
		return opError("set policy", "", err)
	}
	policy.Quorum = max(policy.Quorum, 1)
	if policy.MaxEjected == 0 {
		policy.MaxEjected = 1
	}
	p.policy = policy
	return nil
}

// Decision is what is to be served now.
type Decision struct {
	// Serve are the members that belong in the table, in the order given. A weight
	// of 0 takes no new connections.
	Serve []Share
	// Up says that the pool has its quorum, Live is the sum that was compared.
	Up   bool
	Live int
	// Sorry says that the sorry server serves. Then Serve is empty or, with
	// Policy.Inhibit, all have weight 0.
	Sorry bool
	// Open says that all serve whatever their state.
	Open bool
	// Next is when a weight changes by itself, by slow start: Decide again then.
	// It is zero if none does.
	Next time.Time
}

// Share is a member that is in the table.
type Share struct {
	ID     string
	Weight int
}

// Decide says what is to be served as of now. It forgets members that are not
// given any more: one that returns is new. Asked again with the same arguments it
// answers the same.
func (p *Pool) Decide(now time.Time, members []Member) Decision {
	all := p.observe(now, members)
	d := Decision{}
	for _, m := range all {
		if m.live {
			d.Live = capped(int64(d.Live) + int64(m.full()))
		}
	}
	d.Up = p.quorum(d.Live)
	d.Sorry = p.policy.Sorry && !d.Up
	d.Open = !d.Sorry && p.opens(all)
	stay := p.kept(all)
	for _, m := range all {
		serves := !d.Sorry && (m.live || d.Open || stay[m.ID])
		weight := 0
		if serves {
			var next time.Time
			weight, next = m.rising.weight(now, p.policy.SlowStart, m.full())
			d.Next = earlier(d.Next, next)
		}
		m.served = weight > 0
		if serves || p.policy.Inhibit {
			d.Serve = append(d.Serve, Share{m.ID, weight})
		}
	}
	return d
}

// seen is a member with what is remembered of it.
type seen struct {
	Member
	*memory
}

// full is the weight without slow start: what results say counts of live members.
func (s seen) full() int {
	if !s.live {
		return capped(int64(s.Weight))
	}
	return s.Change.apply(s.Weight)
}

// observe brings what is remembered up to date.
func (p *Pool) observe(now time.Time, members []Member) []seen {
	all, before := make([]seen, 0, len(members)), p.members
	p.members = make(map[string]*memory, len(members))
	for _, m := range members {
		if p.members[m.ID] != nil {
			continue
		}
		mem := before[m.ID]
		if mem == nil {
			mem = &memory{first: !p.begun, live: m.State == Up}
		}
		p.members[m.ID] = mem
		p.step(now, mem, m.State)
		all = append(all, seen{m, mem})
	}
	p.begun = true
	return all
}

// step notes a member's state.
func (p *Pool) step(now time.Time, m *memory, state State) {
	live := state == Up
	switch {
	case live && !m.live:
		start := !m.served && (m.known || !m.first)
		m.rising, m.failed = rise{on: start, since: now}, 0
	case !live && (m.live || state == Down && m.failed == 0):
		p.ordinal++
		m.rising, m.failed = rise{}, p.ordinal
	}
	m.live = live
	m.known = m.known || state != Unknown
}

// quorum moves the pool up or down by the sum of the live weights.
func (p *Pool) quorum(sum int) bool {
	q, h := int64(p.policy.Quorum), int64(p.policy.Hysteresis)
	if p.up {
		p.up = int64(sum) >= q-h // 1 or more
	} else {
		p.up = int64(sum) >= q+h
	}
	return p.up
}

// rounding is what a share may be off by.
const rounding = 1e-9

// opens tells whether too few members are well.
func (p *Pool) opens(all []seen) bool {
	well, counted := 0, 0
	for _, m := range all {
		if m.Weight > 0 {
			counted++
			if m.failed == 0 {
				well++
			}
		}
	}
	return float64(well) < p.policy.FailOpen*float64(counted)-rounding
}

// kept are the failed members that stay, because as many as may be are out.
func (p *Pool) kept(all []seen) map[string]bool {
	if p.policy.MaxEjected == 1 {
		return nil
	}
	counted, failed := 0, []seen(nil)
	for _, m := range all {
		if m.Weight > 0 {
			counted++
			if m.failed > 0 {
				failed = append(failed, m)
			}
		}
	}
	out := max(1, int(p.policy.MaxEjected*float64(counted)+rounding))
	stay := map[string]bool{}
	if len(failed) > out {
		slices.SortFunc(failed, func(a, b seen) int { return cmp.Compare(a.failed, b.failed) })
		for _, m := range failed[out:] {
			stay[m.ID] = true
		}
	}
	return stay
}

// earlier is the first of two times of which either may be zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
