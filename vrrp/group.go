package vrrp

import (
	"sync/atomic"
	"time"
)

// A Group is a sync group: its Routers are Active together or not at all. All of
// them must be run by one call of Run. They are Active when each of them could be
// on its own, Backup as soon as one has given way, and in Fault as long as one is.
// Give all members the same priority.
type Group struct {
	name    string
	members []*machine
	out     outbox
	losses  int           // short reigns, one after the other
	pause   time.Duration // how much longer the timers of Backup are for them,
	until   time.Duration // if they are started before then
	running atomic.Bool   // a Run has the members
}

// NewGroup makes a sync group; the name is for logs. Give it to the Configs of
// its members.
func NewGroup(name string) *Group { return &Group{name: name} }

// reset forgets the members, before the machines of a new Run join.
func (g *Group) reset() { g.members, g.out, g.losses, g.pause, g.until = nil, outbox{}, 0, 0, 0 }

func (g *Group) alone() bool { return len(g.members) == 1 }

// claim makes all members Active if the timers of all have fired, and all
// witnesses that need to be asked have agreed.
func (g *Group) claim(now time.Duration) {
	for _, m := range g.members {
		if m.state != Backup || !m.wait.expired {
			return
		}
	}
	pending := false
	for _, m := range g.members {
		why, _ := m.wait.why(now)
		if m.cfg.Witness == nil || m.wait.agreed || why != ReasonTimeout {
			continue
		}
		pending = true
		if !m.wait.asking {
			m.wait.asking = true
			m.do(actWitness)
		}
	}
	if pending {
		return
	}
	for _, m := range g.members {
		why, peer := m.wait.why(now)
		m.becomeActive(now, why, peer)
	}
}

// void is the end of all questions and answers of witnesses: something was heard.
func (g *Group) void() {
	for _, m := range g.members {
		m.wait.asking, m.wait.agreed = false, false
	}
}

// lost is told that a member ceases to be Active, since when it was. Two groups of
// which each wins on one link would meet there again and again, as what ends their
// reigns starts their timers too: so after a short reign the timers of a group are
// longer by a time of its own, and more so each time, until it has been quiet.
func (g *Group) lost(now, since time.Duration, m *machine) {
	if g.alone() {
		return
	}
	if now-since > m.silence(0) {
		g.losses = 0
		return
	}
	g.losses = min(g.losses+1, 8)
	hash := uint32(2166136261) // FNV-1a of what is not the same on the others
	for _, each := range g.members {
		for _, b := range each.source.As16() {
			hash = (hash ^ uint32(b)) * 16777619
		}
	}
	hash = (hash ^ uint32(g.losses)) * 16777619
	g.pause = m.cfg.Interval * time.Duration(g.losses) * time.Duration(hash>>16&255) / 256
	g.until = now + 4*(m.silence(0)+g.pause)
}

// longer is how much longer a timer is that was started at a time.
func (g *Group) longer(started time.Duration) time.Duration {
	if started < g.until {
		return g.pause
	}
	return 0
}

// follow makes those members Backup that are Active still, because one is not any
// more.
func (g *Group) follow(now time.Duration) {
	for _, m := range g.members {
		switch {
		case m.state != Active:
		case m.starved(now):
			m.becomeBackup(now, ReasonStarved, Peer{})
		default:
			m.becomeBackup(now, ReasonGroup, Peer{})
		}
	}
}

// fall brings all members to Fault that run: first the one with the cause.
func (g *Group) fall(now time.Duration, first *machine, why Reason) {
	if first.state == Backup || first.state == Active {
		first.becomeFault(now, why)
	}
	for _, m := range g.members {
		if m.state == Backup || m.state == Active {
			m.becomeFault(now, ReasonGroup)
		}
	}
}

// recover ends Fault when no member has a cause any more.
func (g *Group) recover(now time.Duration) {
	for _, m := range g.members {
		if m.causes.n > 0 {
			return
		}
	}
	for _, m := range g.members {
		if m.state == Fault {
			m.enter(now, ReasonRecovered)
		}
	}
}

// faulty says that a member other than m has a fault.
func (g *Group) faulty(m *machine) bool {
	for _, other := range g.members {
		if other != m && other.causes.n > 0 {
			return true
		}
	}
	return false
}

// fault is why m has to be in Fault, or 0.
func (g *Group) fault(m *machine) Reason {
	switch {
	case m.causes.n > 0:
		return m.causes.reasons[0]
	case g.faulty(m):
		return ReasonGroup
	}
	return 0
}
