package vrrp

import (
	"slices"
	"time"
)

// stepInitialize waits for the start (RFC 9568, section 6.4.1).
func (m *machine) stepInitialize(now time.Duration, in input) {
	if in.kind != inStart {
		return
	}
	m.notBefore = now + m.cfg.StartupDelay
	if r := m.group.fault(m); r != 0 {
		m.becomeFault(now, r)
		return
	}
	m.enter(now, ReasonStart)
}

// enter begins the election, at the start or after a fault: the owner is Active
// as soon as it may, all others are Backup first.
func (m *machine) enter(now time.Duration, why Reason) {
	if m.priority == owner && m.notBefore <= now && m.group.alone() {
		if why == ReasonStart {
			why = ReasonOwner
		}
		m.becomeActive(now, why, Peer{})
		return
	}
	m.becomeBackup(now, why, Peer{})
	m.wait.since = max(m.wait.since, m.notBefore)
	if m.priority == owner {
		m.wait.timer = afterNothing
		if m.wait.since <= now {
			m.expire(now)
		}
	}
}

// become is the part of all transitions that tells about them.
func (m *machine) become(s State, why Reason, peer Peer) {
	from := m.state
	m.state, m.reason = s, why
	m.tell(Event{Kind: Transition, From: from, To: s, Reason: why, Priority: m.priority, Peer: peer})
}

// becomeActive: the advertisement comes before all else, because it is what makes
// the others give way.
func (m *machine) becomeActive(now time.Duration, why Reason, peer Peer) {
	displaced := m.wait.lower.Addr
	m.wait = waiting{}
	m.reign = reign{since: now, displaced: displaced}
	m.advertiseNow(now)
	m.do(actAcquire)
	m.become(Active, why, peer)
}

// becomeBackup: who gives way to an Active router is silent, who leaves for a
// reason of its own resigns. One that was Active takes its group along.
func (m *machine) becomeBackup(now time.Duration, why Reason, peer Peer) {
	was, since := m.state, m.reign.since
	m.abdicate(why == ReasonGroup)
	if was == Active && why != ReasonGroup {
		m.group.lost(now, since, m)
	}
	m.wait = waiting{since: now}
	m.path.primary = now
	m.become(Backup, why, peer)
	if was == Active {
		m.group.follow(now)
	}
}

// becomeFault: a duplicate owner that stays Active needs no resignation of ours.
func (m *machine) becomeFault(now time.Duration, why Reason) {
	if m.state == Active && why == ReasonDuplicateOwner {
		m.group.lost(now, m.reign.since, m)
	}
	m.abdicate(why != ReasonDuplicateOwner)
	m.wait = waiting{}
	m.become(Fault, why, Peer{})
}

// becomeInitialize ends it, with priority 0 in Active (RFC 9568, section 6.4.3).
func (m *machine) becomeInitialize(why Reason) {
	m.abdicate(true)
	m.wait = waiting{}
	m.path = secondPath{}
	m.causes.set(ReasonDuplicateOwner, false)
	m.become(Initialize, why, Peer{})
}

// abdicate is the end of being Active.
func (m *machine) abdicate(resign bool) {
	if m.state != Active {
		return
	}
	if resign {
		m.advertise(0)
	}
	m.do(actRelease)
	for _, r := range m.reign.rivals {
		m.tell(Event{Kind: Healed, Peer: r.Peer})
	}
	m.reign = reign{}
}

// configure changes the configuration and keeps the state. An Active router
// advertises at once: the others have to know a longer interval before they have
// reason to wonder, and its own fence counts from here.
func (m *machine) configure(now time.Duration, in input) {
	before := m.cfg.Interval
	m.cfg = in.cfg
	m.priority = in.priority
	if m.priority == 0 {
		m.priority = in.cfg.Priority
	}
	if m.priority != owner && m.causes.has(ReasonDuplicateOwner) {
		m.setFault(now, ReasonDuplicateOwner, false)
	}
	switch {
	case m.state == Active:
		if m.cfg.Interval > before {
			if m.reign.hasten > 0 {
				before = min(before, m.reign.pace)
			}
			m.reign.hasten, m.reign.pace = m.cfg.DownCount, before
		}
		m.advertiseNow(now)
		m.do(actAcquire)
	case m.state == Backup && m.priority == owner:
		m.wait.timer, m.wait.since = afterNothing, max(now, m.notBefore)
		m.wait.updated = true
		if m.notBefore <= now {
			m.expire(now)
		}
	}
}

// faults is what is wrong now, the oldest first; ReasonGroup stands for the faults of
// other members of the group.
func (m *machine) faults() []Reason {
	all := slices.Clone(m.causes.reasons[:m.causes.n])
	if m.group.faulty(m) {
		all = append(all, ReasonGroup)
	}
	return all
}

// setFault begins or ends a fault.
func (m *machine) setFault(now time.Duration, why Reason, on bool) {
	if !m.causes.set(why, on) {
		return
	}
	if on {
		m.group.fall(now, m, why)
		return
	}
	m.group.recover(now)
}

// stepFault: nothing is heard in Fault but a duplicate owner.
func (m *machine) stepFault(now time.Duration, in input) {
	duplicate := m.causes.has(ReasonDuplicateOwner)
	switch {
	case in.kind == inStop:
		m.becomeInitialize(ReasonStop)
	case in.kind == inTick && duplicate && now >= m.ownerDead:
		m.setFault(now, ReasonDuplicateOwner, false)
	case in.kind == inAdvert && duplicate && in.priority == owner:
		m.ownerDead = now + m.group.longer(now) + m.silence(in.interval)
	}
}

// duplicateOwner: another router owns the addresses too, and is Active.
func (m *machine) duplicateOwner(now time.Duration, in input) {
	m.setFault(now, ReasonDuplicateOwner, true)
	m.ownerDead = now + m.group.longer(now) + m.silence(in.interval)
}

// faultSet is a set of the Reasons that lead to Fault, in the order in which they
// began.
type faultSet struct {
	reasons [8]Reason
	n       int
}

func (f *faultSet) has(r Reason) bool { return slices.Contains(f.reasons[:f.n], r) }

// set says whether it changed anything.
func (f *faultSet) set(r Reason, on bool) bool {
	i := slices.Index(f.reasons[:f.n], r)
	switch {
	case on && i < 0 && f.n < len(f.reasons):
		f.reasons[f.n] = r
		f.n++
	case !on && i >= 0:
		copy(f.reasons[i:], f.reasons[i+1:f.n])
		f.n--
	default:
		return false
	}
	return true
}
