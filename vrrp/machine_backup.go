package vrrp

import (
	"net/netip"
	"time"
)

// waiting is what a Backup remembers. The zero waiting has heard nobody.
type waiting struct {
	timer   timer
	since   time.Duration // when the timer was started
	learned time.Duration // Active_Adver_Interval of v3; 0 is our own

	resigned Peer        // the router whose priority 0 started the timer
	follows  otherActive // the Active router that is accepted, by either path,
	heard    otherActive // and by its address on the first
	lower    otherActive // the one that is to be displaced

	delaying  bool          // PreemptDelay has begun,
	delayFrom time.Duration // then

	expired bool // the timer has fired; the group or the witness is waited for
	asking  bool // the witness is asked
	agreed  bool // the witness has agreed
	graced  bool // the timer came so late that it got a second chance
	updated bool // an Update made us the owner
}

// timer is what a Backup waits for.
type timer uint8

const (
	afterDown    timer = iota // Active_Down_Interval and TakeoverDelay
	afterSkew                 // Skew_Time: the Active router has resigned
	afterGrace                // an interval and Skew_Time: we were asleep
	afterNothing              // only the end of StartupDelay: we are the owner
)

// otherActive is an Active router that a Backup hears.
type otherActive struct {
	Peer
	dead time.Duration // when it counts as silent
}

func (o *otherActive) lives(now time.Duration) bool { return o.Addr.IsValid() && now < o.dead }

// stepBackup is RFC 9568, section 6.4.2.
func (m *machine) stepBackup(now time.Duration, in input) {
	switch in.kind {
	case inStop:
		m.becomeInitialize(ReasonStop)
	case inTick:
		if !m.wait.expired && now >= m.downAt() {
			m.fire(now)
		}
	case inAdvert:
		m.backupAdvert(now, in)
	case inBeat:
		m.backupBeat(now, in)
	case inWitness:
		m.answered(now, in.on)
	}
}

func (m *machine) backupAdvert(now time.Duration, in input) {
	m.highest = max(m.highest, in.priority)
	switch {
	case in.priority == 0:
		m.backupZero(now, in)
		return
	case in.priority == owner && m.priority == owner:
		m.duplicateOwner(now, in)
		return
	}
	m.primaryHeard(now, in)
	if m.accepts(now, in.priority) {
		m.listen(now, in)
		return
	}
	// A lower one is discarded and the timer left alone: it is displaced in time.
	m.wait.lower = otherActive{in.peer(), now + m.silence(in.interval)}
	if m.wait.asking {
		m.wait.asking = false
		m.group.claim(now) // that router lives: it is preempted, and no witness is needed
	}
}

// backupZero: the Active router resigns. A copy of its packet, or its insistence,
// does not postpone what follows.
func (m *machine) backupZero(now time.Duration, in input) {
	w := &m.wait
	if w.timer == afterNothing || w.timer == afterSkew && w.resigned.Addr == in.from {
		return
	}
	m.group.void()
	*w = waiting{timer: afterSkew, since: now, learned: w.learned, resigned: in.peer()}
}

// accepts says whether an Active router of this priority is listened to.
func (m *machine) accepts(now time.Duration, priority uint8) bool {
	w := &m.wait
	switch {
	case priority >= m.priority:
		w.delaying = false
		return true
	case m.priority == owner:
		return false
	case m.cfg.NoPreempt:
		return true
	case m.cfg.PreemptDelay == 0:
		return false
	}
	if !w.delaying {
		w.delaying, w.delayFrom = true, now
	}
	return now < w.delayFrom+m.cfg.PreemptDelay
}

// listen accepts an advertisement, or a beat: it starts the timer anew and learns
// the interval. But a router that has to give way to the one that is followed and
// lives does not make us less patient with that one.
func (m *machine) listen(now time.Duration, in input) {
	m.group.void()
	w := &m.wait
	*w = waiting{
		since: now, learned: w.learned, heard: w.heard, follows: w.follows,
		delaying: w.delaying, delayFrom: w.delayFrom,
	}
	sender := otherActive{in.peer(), now + m.silence(in.interval)}
	if f := &w.follows; in.from != f.Addr && in.priority < f.Priority && sender.dead < f.dead {
		return
	}
	w.follows = sender
	if m.cfg.Version == V3 {
		w.learned = in.interval
	}
	if in.kind == inAdvert || !w.heard.lives(now) {
		w.heard = w.follows
	}
}

// backupBeat: what is heard by the second path postpones the promotion. Only an
// Active router of lower priority that is heard by the first path too is
// displaced as usual.
func (m *machine) backupBeat(now time.Duration, in input) {
	if in.priority == 0 {
		return // it came by the first path too; if not, the timer is enough
	}
	m.highest = max(m.highest, in.priority)
	m.beatHeard(now, in)
	if m.accepts(now, in.priority) || !m.wait.lower.lives(now) && m.wait.timer != afterNothing {
		m.listen(now, in)
	}
}

// fire is Active_Down_Timer. If it comes more than an interval late, then this
// router, or the machine, was not running, and the silence means nothing: it
// listens for one more interval. But only once for a delay that an Active router
// could have too, or a router that is always busy would never take over.
func (m *machine) fire(now time.Duration) {
	w, interval := &m.wait, m.activeInterval()
	late := now - m.downAt()
	if w.timer != afterNothing && (late > interval && !w.graced || late > time.Duration(m.cfg.DownCount)*interval) {
		w.timer, w.since, w.graced = afterGrace, now, true
		return
	}
	m.expire(now)
}

func (m *machine) expire(now time.Duration) {
	m.wait.expired = true
	m.group.claim(now)
}

// why is the reason for the promotion of a Backup, and the router that it is
// about.
func (w *waiting) why(now time.Duration) (Reason, Peer) {
	switch {
	case w.updated:
		return ReasonUpdate, Peer{}
	case w.resigned.Addr.IsValid():
		return ReasonResigned, w.resigned
	case w.lower.lives(now):
		return ReasonPreempt, w.lower.Peer
	case w.timer == afterNothing:
		return ReasonOwner, Peer{}
	}
	return ReasonTimeout, w.heard.Peer
}

// answered takes the witness's answer. It has been asked because all members of
// the group were about to be Active; a veto makes this one wait again.
func (m *machine) answered(now time.Duration, agreed bool) {
	w := &m.wait
	if !w.asking {
		return
	}
	if agreed {
		w.asking, w.agreed = false, true
		m.group.claim(now)
		return
	}
	m.group.void()
	*w = waiting{since: now, learned: w.learned, delaying: w.delaying, delayFrom: w.delayFrom}
	m.tell(Event{Kind: Vetoed})
}

// secondPath is what is known of the two ways to the Active router.
type secondPath struct {
	primary time.Duration // when it was heard by the first, or could have been
	lost    bool          // PrimaryPathLost was told
}

func (m *machine) beatHeard(now time.Duration, in input) {
	if !m.path.lost && now >= m.path.primary+m.silence(in.interval) {
		m.path.lost = true
		m.tell(Event{Kind: PrimaryPathLost, Peer: in.peer()})
	}
}

func (m *machine) primaryHeard(now time.Duration, in input) {
	m.path.primary = now
	if m.path.lost {
		m.path.lost = false
		m.tell(Event{Kind: PrimaryPathBack, Peer: in.peer()})
	}
}

// greater compares addresses as the tie-break does: as unsigned numbers in network
// byte order (RFC 9568, section 6.4.3), zones and IPv4-mapping aside.
func greater(a, b netip.Addr) bool {
	return a.WithZone("").Unmap().Compare(b.WithZone("").Unmap()) > 0
}
