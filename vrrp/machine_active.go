package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

const (
	maxRivals = 16 // other Active routers that are told about
	maxZeros  = 4  // answers to priority 0 within an interval
)

// reign is what an Active router remembers.
type reign struct {
	since     time.Duration // it became Active
	displaced netip.Addr    // the Active router before, if its priority is lower
	advertAt  time.Duration // Adver_Timer
	sent      time.Duration // the last advertisement
	pace      time.Duration // interval before it was made longer, for
	hasten    int           // so many advertisements

	owing    bool          // there is another answer to give
	answerAt time.Duration // then

	rivals []rival // other Active routers, told by TwoActive
}

// answers are what an Active router has answered, which counts in the next reign too.
type answers struct {
	last  time.Duration // the last one to a lower priority
	zeros int           // those to priority 0
	since time.Duration // since then
}

// rival is another Active router.
type rival struct {
	Peer
	dead time.Duration // when it counts as silent
}

// next is the next deadline.
func (r *reign) next() time.Duration {
	at := r.advertAt
	if r.owing {
		at = min(at, r.answerAt)
	}
	for i := range r.rivals {
		at = min(at, r.rivals[i].dead)
	}
	return at
}

// stepActive is RFC 9568, section 6.4.3.
func (m *machine) stepActive(now time.Duration, in input) {
	switch in.kind {
	case inStop:
		m.becomeInitialize(ReasonStop)
	case inTick:
		m.activeTick(now)
	case inAdvert:
		m.activeAdvert(now, in)
	case inBeat:
		m.activeBeat(now, in)
	case inRival:
		m.rivalHeard(now, in) // it does not listen to us either
	}
}

func (m *machine) activeTick(now time.Duration) {
	r := &m.reign
	if r.owing && now >= r.answerAt {
		m.answer(now)
	}
	if now >= r.advertAt {
		m.advertiseDue(now)
	}
	healed := false
	r.rivals = slices.DeleteFunc(r.rivals, func(other rival) bool {
		if now < other.dead {
			return false
		}
		healed = true
		m.tell(Event{Kind: Healed, Peer: other.Peer})
		return true
	})
	if healed {
		m.do(actAnnounce)
	}
}

// advertiseDue sends the advertisement of the Adver_Timer. The next one is due an
// interval after this one was, so that lateness does not add up; but a late one
// is not followed by another at once.
func (m *machine) advertiseDue(now time.Duration) {
	r := &m.reign
	interval := m.cfg.Interval
	if r.hasten > 0 {
		r.hasten--
		interval = min(interval, r.pace)
	}
	m.advertise(m.priority)
	r.sent = now
	r.advertAt += interval
	if r.advertAt < now+interval/2 {
		r.advertAt = now + interval
	}
}

// advertiseNow sends one at once and starts the Adver_Timer anew.
func (m *machine) advertiseNow(now time.Duration) {
	m.reign.advertAt = now
	m.advertiseDue(now)
}

func (m *machine) activeAdvert(now time.Duration, in input) {
	m.highest = max(m.highest, in.priority)
	tie := in.priority == m.priority
	switch {
	case in.priority == 0:
		m.activeZero(now, in)
		return
	case in.priority > m.priority, tie && greater(in.from, m.local(in)):
		m.primaryHeard(now, in)
		m.yield(now, in, tie)
	default:
		m.primaryHeard(now, in)
		m.rivalHeard(now, in)
		m.answerSoon(now)
	}
}

// local is our address in a tie.
func (m *machine) local(in input) netip.Addr {
	if in.local.IsValid() {
		return in.local
	}
	return m.source
}

// yield gives way to a better Active router. One that was Active for a while has a
// last word, the advertisement that may be due anyway: after a split that this
// router hears first to be healed, the winner would not know of it, and would not
// announce again to those who believe us. It answers the last word as it answers
// any router of lower priority.
func (m *machine) yield(now time.Duration, in input, tie bool) {
	why := ReasonHigher
	switch {
	case tie && m.priority == owner:
		m.duplicateOwner(now, in)
		return
	case tie:
		why = ReasonTie
	}
	if now > m.reign.since+m.cfg.Interval {
		m.advertise(m.priority)
	}
	m.becomeBackup(now, why, in.peer())
	m.listen(now, in)
}

// activeZero: a router that was Active too, or is about to be, resigns. The Backups
// have heard that too, and hold back only if they hear us within their skew: so the
// answer is at once, but not without end.
func (m *machine) activeZero(now time.Duration, in input) {
	r := &m.reign
	if i := m.rival(in.from); i >= 0 {
		m.tell(Event{Kind: Healed, Peer: r.rivals[i].Peer})
		r.rivals = slices.Delete(r.rivals, i, i+1)
		m.do(actAnnounce)
	}
	if a := &m.answers; a.zeros == 0 || now >= a.since+m.cfg.Interval {
		a.zeros, a.since = 0, now
	}
	if m.answers.zeros == maxZeros {
		m.answerSoon(now)
		return
	}
	m.answers.zeros++
	m.advertiseNow(now)
}

// answerSoon is the answer to an Active router of lower priority: an advertisement,
// that it may give way, and an announcement, because it has announced itself. RFC
// 9568 has it at once, so is the first; then there is one in half an interval for
// all who need it. The Adver_Timer is left alone.
func (m *machine) answerSoon(now time.Duration) {
	r := &m.reign
	if r.owing {
		return
	}
	r.answerAt = m.answers.last + m.cfg.Interval/2
	if now >= r.answerAt {
		m.answer(now)
		return
	}
	r.owing = true
}

func (m *machine) answer(now time.Duration) {
	m.reign.owing, m.reign.sent, m.answers.last = false, now, now
	m.advertise(m.priority)
	m.do(actAnnounce)
}

// activeBeat: by the second path only a higher priority counts.
func (m *machine) activeBeat(now time.Duration, in input) {
	m.highest = max(m.highest, in.priority)
	switch {
	case in.priority > m.priority:
		m.yield(now, in, false)
	case in.priority != 0 && (len(m.reign.rivals) == 0 || m.rival(in.from) >= 0):
		m.rivalHeard(now, in)
	}
}

// rivalHeard tells about another Active router, once. What the displaced router
// sent before it could hear ours, and its last word, are no news.
func (m *machine) rivalHeard(now time.Duration, in input) {
	r := &m.reign
	other := rival{in.peer(), now + m.silence(in.interval)}
	i := m.rival(in.from)
	switch {
	case i >= 0:
		r.rivals[i] = other
	case in.from == r.displaced && now < r.since+m.cfg.Interval:
	case len(r.rivals) < maxRivals:
		r.rivals = append(r.rivals, other)
		m.tell(Event{Kind: TwoActive, Peer: other.Peer})
	}
}

func (m *machine) rival(addr netip.Addr) int {
	return slices.IndexFunc(m.reign.rivals, func(r rival) bool { return r.Addr == addr })
}

// fence makes an Active router give way that was silent for so long that another
// may believe it dead and be Active by now. It says nothing: who is to take over
// has had reason to already.
func (m *machine) fence(now time.Duration) {
	for _, each := range m.group.members {
		if each.state == Active && each.starved(now) {
			each.becomeBackup(now, ReasonStarved, Peer{})
		}
	}
}
