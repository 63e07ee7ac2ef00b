package health

import (
	"reflect"
	"time"
)

// probe is what is called for one check, or for all checks with the same Key.
// The Monitor's mutex guards it.
type probe struct {
	key     string // of the Monitor's map of shared probes; "" if it is not shared
	prober  Prober
	members []*member
	phase   phase
	fresh   bool          // it has not begun yet since Run did
	due     time.Duration // when it is to begin, or was to begin if it waits or is under way
	asked   time.Duration // since when it waits for a place
	run     *run          // while it is under way
	began   time.Duration // when it was under way last

	// For the schedule: when something is to be done, and the place in the heap.
	at      time.Duration
	pos     int
	planned bool
	// For the queue of those that wait for a place.
	before, behind *probe
}

// phase is where a probe is in its life.
type phase uint8

const (
	idle     phase = iota // until due
	waiting               // for a place
	underway              // in a worker
)

// member is a check as the Monitor has it.
type member struct {
	id    string
	check Check // normal
	known known
	probe *probe
	index int // in probe.members
	// The age of the last result counts from this time on, and without the
	// starvation that was before.
	fromAt, starved time.Duration

	forgotten bool // guarded by the notifier's mutex
}

// join makes m a member of p.
func (p *probe) join(m *member) {
	m.probe, m.index = p, len(p.members)
	p.members = append(p.members, m)
}

// leave takes m out, and says whether nobody is left.
func (p *probe) leave(m *member) (empty bool) {
	last := len(p.members) - 1
	p.members[m.index] = p.members[last]
	p.members[m.index].index = m.index
	p.members[last] = nil
	p.members = p.members[:last]
	m.probe = nil
	return last == 0
}

// name decides when the first probe comes.
func (p *probe) name() string {
	if p.key != "" || len(p.members) == 0 {
		return p.key
	}
	return p.members[0].id
}

// timeout is the longest of the members'.
func (p *probe) timeout() (t time.Duration) {
	for _, m := range p.members {
		t = max(t, m.check.Timeout)
	}
	return t
}

// wait is the shortest that a member wants, and its jitter.
func (p *probe) wait() (wait time.Duration, jitter float64) {
	wait = never
	for _, m := range p.members {
		if w := m.known.wait(&m.check); w < wait {
			wait, jitter = w, m.check.Jitter
		}
	}
	return wait, jitter
}

// deadline is when something is to be done about it: it begins, it has waited for
// too long, its time is over, or what is known of a member is too old. Of starvation it knows
// nothing: who finds that it is too early asks for the deadline again.
func (p *probe) deadline(h *starvation) time.Duration {
	at := never
	switch p.phase {
	case idle:
		at = p.due
	case waiting:
		at = p.asked + p.timeout()
	case underway:
		at = p.run.end(h)
	}
	for _, m := range p.members {
		at = min(at, m.ageEnd(h.total))
	}
	return at
}

// ageEnd is when what is known of a check is too old, if the process starves no
// more than it has.
func (m *member) ageEnd(starved time.Duration) time.Duration {
	if m.check.MaxAge == 0 || m.known.state == Unknown {
		return never
	}
	return m.fromAt + m.check.MaxAge + starved - m.starved
}

// same tells whether two Probers are surely the same.
func same(a, b Prober) bool {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	return va.Type() == vb.Type() && va.Comparable() && vb.Comparable() && va.Equal(vb)
}

// queue is the list of probes that wait for a place.
type queue struct {
	head, tail *probe
	n          int
}

func (q *queue) push(p *probe) {
	p.before, p.behind = q.tail, nil
	if q.tail == nil {
		q.head = p
	} else {
		q.tail.behind = p
	}
	q.tail = p
	q.n++
}

// remove takes out p, which is in.
func (q *queue) remove(p *probe) {
	if p.before == nil {
		q.head = p.behind
	} else {
		p.before.behind = p.behind
	}
	if p.behind == nil {
		q.tail = p.before
	} else {
		p.behind.before = p.before
	}
	p.before, p.behind = nil, nil
	q.n--
}
