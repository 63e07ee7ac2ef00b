package vrrp

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"time"
)

// In the exhaustive run time passes in quanta of a quarter of an interval. All
// skews are whole quanta, so that nothing happens in between.
const (
	quantum  = 64 * time.Millisecond
	interval = 4 * quantum
	longAgo  = -64 * quantum
)

// trio is three routers and all that is on its way between them. Its time is
// always 0: the past is negative.
type trio struct {
	ms     [3]machine
	up     [3]bool
	paused [3]bool
	air    [3][3]queue // by source and destination
	losses uint8       // that may still happen
	crash  uint8
	pauses uint8
	lost   uint8 // that happened
	slept  uint8 // pauses that happened
	flood  bool
}

// flight is an advertisement on its way; it arrives after one quantum at most.
type flight struct {
	priority uint8
	age      uint8
}

// queue is what is on its way between two routers, or waits in the socket of a
// paused one.
type queue struct {
	n  uint8
	at [maxQueue]flight
}

const maxQueue = 6

// groups are those of all machines: a step is of one of them at a time.
var groups = [3]*Group{{members: make([]*machine, 1)}, {members: make([]*machine, 1)}, {members: make([]*machine, 1)}}

// move is what may happen next.
type move struct {
	kind     moveKind
	who, dst int8
	nth      int8
}

type moveKind uint8

const (
	advance   moveKind = iota // time passes
	fire                      // who gets its tick
	deliver                   // the nth from who to dst arrives, in any order
	lose                      // it does not
	die                       // who is killed
	revive                    // who starts again
	pause                     // who stops
	resume                    // who goes on: it reads all that has come in, then its timers fire
	moveKinds = iota
)

var moveNames = [moveKinds]string{"advance", "tick", "deliver", "lose", "crash", "start", "pause", "resume"}

func (v move) String() string {
	return fmt.Sprintf("%s %d>%d #%d", moveNames[v.kind], v.who, v.dst, v.nth)
}

func newTrio(priorities [3]uint8, noPreempt bool) *trio {
	s := &trio{losses: 1, crash: 1}
	for i, p := range priorities {
		s.ms[i] = *newMachine(&Config{
			Version: V3, Priority: p, Interval: interval, DownCount: 2, NoPreempt: noPreempt,
			Source: netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}),
		})
		s.boot(i)
	}
	return s
}

func (s *trio) boot(i int) {
	s.ms[i] = *newMachine(s.ms[i].cfg)
	s.ms[i].answers.last = longAgo
	s.up[i] = true
	s.step(i, input{kind: inStart})
}

// clone shares nothing that a step changes.
func (s *trio) clone() *trio {
	c := *s
	for i := range c.ms {
		c.ms[i].reign.rivals = slices.Clone(c.ms[i].reign.rivals)
	}
	return &c
}

func (s *trio) step(i int, in input) {
	m := &s.ms[i]
	m.group = groups[i]
	m.group.members[0], m.out = m, &m.group.out
	for _, a := range m.step(0, in) {
		if a.kind != actAdvertise {
			continue
		}
		for j := range s.ms {
			q := &s.air[i][j]
			switch {
			case j == i || !s.up[j], s.paused[j] && q.n > 2: // its socket is full
			case q.n == maxQueue:
				s.flood = true
			default:
				q.at[q.n] = flight{priority: a.priority}
				q.n++
			}
		}
	}
}

func (s *trio) receive(v move) {
	f := s.air[v.who][v.dst].at[v.nth]
	s.drop(v)
	s.step(int(v.dst), input{
		kind: inAdvert, from: s.ms[v.who].source, local: s.ms[v.dst].source, priority: f.priority, interval: interval,
	})
}

func (s *trio) drop(v move) {
	q := &s.air[v.who][v.dst]
	copy(q.at[v.nth:], q.at[v.nth+1:q.n])
	q.n--
}

// moves are all that may happen now.
func (s *trio) moves() []move {
	var all []move
	urgent := false
	for i := range int8(3) {
		for j := range int8(3) {
			for n, f := range s.air[i][j].at[:s.air[i][j].n] {
				if !s.paused[j] {
					all = append(all, move{deliver, i, j, int8(n)})
					urgent = urgent || f.age > 0
				}
				if s.losses > 0 {
					all = append(all, move{lose, i, j, int8(n)})
				}
			}
		}
		switch {
		case !s.up[i]:
			all = append(all, move{kind: revive, who: i})
		case s.paused[i]:
			all = append(all, move{kind: resume, who: i})
		default:
			if at, ok := s.ms[i].deadline(); ok && at <= 0 {
				all = append(all, move{kind: fire, who: i})
				urgent = true
			}
			if s.crash > 0 {
				all = append(all, move{kind: die, who: i})
			}
			if s.pauses > 0 {
				all = append(all, move{kind: pause, who: i})
			}
		}
	}
	if !urgent {
		all = append(all, move{kind: advance})
	}
	return all
}

func (s *trio) make(v move) {
	switch v.kind {
	case advance:
		s.pass()
	case fire:
		s.step(int(v.who), input{kind: inTick})
	case deliver:
		s.receive(v)
	case lose:
		s.drop(v)
		s.losses--
		s.lost++
	case die:
		s.up[v.who] = false
		s.crash--
		for j := range s.air {
			s.air[j][v.who].n = 0
		}
	case revive:
		s.boot(int(v.who))
	case pause:
		s.paused[v.who] = true
		s.pauses--
		s.slept++
	case resume:
		s.wake(v.who)
	}
}

func (s *trio) wake(i int8) {
	s.paused[i] = false
	for j := range int8(3) {
		for s.air[j][i].n > 0 {
			s.receive(move{who: j, dst: i})
		}
	}
}

// pass is a quantum: everything becomes older.
func (s *trio) pass() {
	for i := range s.ms {
		m := &s.ms[i]
		for _, t := range m.times() {
			*t = max(*t-quantum, longAgo)
		}
		for j := range s.air[i] {
			for n := range s.air[i][j].n {
				s.air[i][j].at[n].age = 1
			}
		}
	}
}

// times are all moments that a machine remembers.
func (m *machine) times() []*time.Duration {
	w, r := &m.wait, &m.reign
	all := []*time.Duration{
		&m.notBefore, &m.ownerDead, &w.since, &w.follows.dead, &w.heard.dead, &w.lower.dead, &w.delayFrom,
		&r.since, &r.advertAt, &r.sent, &r.answerAt, &m.answers.last, &m.answers.since, &m.path.primary,
	}
	for i := range r.rivals {
		all = append(all, &r.rivals[i].dead)
	}
	return all
}

// key is the same for states that behave alike: what is over has no age.
func (s *trio) key(h *maphash.Hash, b []byte) (uint64, []byte) {
	b = append(b[:0], s.losses, s.crash, s.pauses, s.lost, s.slept)
	bit := func(v bool) {
		if v {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	for i := range s.ms {
		m := &s.ms[i]
		bit(s.up[i])
		bit(s.paused[i])
		if s.up[i] {
			b = m.key(b, bit)
		}
		for j := range s.air[i] {
			q := &s.air[i][j]
			b = append(b, q.n)
			for _, f := range q.at[:q.n] {
				b = append(b, f.priority, f.age)
			}
		}
	}
	h.Reset()
	_, _ = h.Write(b)
	return h.Sum64(), b
}

func (m *machine) key(b []byte, bit func(bool)) []byte {
	w, r := &m.wait, &m.reign
	moment := func(t, floor time.Duration) { b = binary.LittleEndian.AppendUint16(b, uint16(max(t, floor)/quantum)) }
	other := func(o *otherActive) {
		if o.dead > 0 {
			moment(o.dead, 0)
			b = append(b, o.Priority, o.Addr.As4()[3])
		} else {
			b = append(b, 0xff)
		}
	}
	b = append(b, byte(m.state), m.highest)
	switch m.state {
	case Backup:
		b = append(b, byte(w.timer), byte(len(w.resigned.Addr.AsSlice())))
		moment(w.since, longAgo)
		other(&w.follows)
		other(&w.lower)
		for _, v := range []bool{w.graced, w.expired} {
			bit(v)
		}
		if w.resigned.Addr.IsValid() {
			b = append(b, w.resigned.Addr.As4()[3])
		}
	case Active:
		moment(r.since, -3*interval)
		moment(r.advertAt, longAgo)
		moment(r.sent, longAgo)
		bit(r.owing)
		if r.owing {
			moment(r.answerAt, longAgo)
		}
		for i := range r.rivals {
			moment(r.rivals[i].dead, longAgo)
			b = append(b, r.rivals[i].Addr.As4()[3])
		}
	}
	moment(m.answers.last, -interval)
	b = append(b, byte(m.answers.zeros))
	if m.answers.zeros > 0 {
		moment(m.answers.since, -interval)
	}
	return b
}
