package main

import (
	"sync"
	"time"
)

// slotLength is how finely the timeline shows when a request was sent.
const slotLength = 50 * time.Millisecond

// slot counts the requests that were sent within slotLength.
type slot struct{ sent, answered, failed int }

func (s slot) pending() int { return s.sent - s.answered - s.failed }

// phase is a part of the story. Requests may be lost in it for the reason that
// Why gives; without one, none should be.
type phase struct {
	Name     string        `json:"name"`
	Why      string        `json:"expected,omitempty"`
	From     time.Duration `json:"-"`
	FromMS   float64       `json:"from_ms"`
	Requests int           `json:"requests"`
	Failed   int           `json:"failed"`
	// Causes are those of the failures.
	Causes map[string]int `json:"causes,omitempty"`
}

func (p *phase) lose(cause string) {
	p.Failed++
	if p.Causes == nil {
		p.Causes = map[string]int{}
	}
	p.Causes[cause]++
}

// event is something that was done or seen.
type event struct {
	at   time.Duration // since the journal's begin
	text string
}

// journal keeps what has happened. It is safe for concurrent use.
type journal struct {
	clock func() time.Duration // since its begin

	mu       sync.Mutex // guards what follows
	phases   []phase
	events   []event
	slots    map[int]slot
	answers  map[string]int // by server
	causes   map[string]int // of requests that failed
	requests int            // that have been answered or have failed
	failed   int
	first    time.Duration // when the first of those sent since the mark was answered, 0: not yet
	mark     time.Duration
	stalled  time.Duration // the longest time for which the client itself stood still
}

func newJournal(clock func() time.Duration) *journal {
	return &journal{clock: clock, slots: map[int]slot{}, answers: map[string]int{}, causes: map[string]int{}}
}

// begin begins a phase, and tells of what begins it.
func (j *journal) begin(name, why, text string) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.clock()
	j.phases = append(j.phases, phase{Name: name, Why: why, From: now, FromMS: ms(now)})
	j.events = append(j.events, event{now, text})
	return now
}

// stall notes that the client was late by so much.
func (j *journal) stall(late time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stalled = max(j.stalled, late)
}

// sent notes that a request begins now.
func (j *journal) sent() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.clock()
	s := j.slots[slotOf(now)]
	s.sent++
	j.slots[slotOf(now)] = s
	return now
}

func slotOf(at time.Duration) int { return int(at / slotLength) }

// done notes what became of a request.
func (j *journal) done(start time.Duration, server string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	end := j.clock()
	s := j.slots[slotOf(start)]
	j.requests++
	home := j.phaseOf(start, end, err != nil)
	if home != nil {
		home.Requests++
	}
	if err != nil {
		s.failed++
		j.failed++
		j.causes[cause(err)]++
		if home != nil {
			home.lose(cause(err))
		}
	} else {
		s.answered++
		j.answers[server]++
		if start >= j.mark && j.first == 0 {
			j.first = end
		}
	}
	j.slots[slotOf(start)] = s
}

// phaseOf is the phase that a request belongs to: the one in which it was sent. One
// that failed belongs to the first phase of its life in which that is expected: it
// may have been sent just before, or have waited for its timeout.
func (j *journal) phaseOf(start, end time.Duration, failed bool) (home *phase) {
	for i := range j.phases {
		p := &j.phases[i]
		over := i+1 < len(j.phases) && j.phases[i+1].From <= start
		if over || p.From > end {
			continue
		}
		if failed && p.Why != "" {
			return p
		}
		if p.From <= start {
			home = p
		}
	}
	return home
}

// expectAnswer makes firstAnswer wait for a request that is sent from now on.
func (j *journal) expectAnswer() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mark, j.first = j.clock(), 0
}

// firstAnswer is when the first request sent since expectAnswer was answered.
func (j *journal) firstAnswer() (at time.Duration, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first, j.first > 0
}

// takeSlots removes and returns the slots of a second of the run, and whether all
// their requests have ended; until then they stay.
func (j *journal) takeSlots(second int) (slots [slotsPerSecond]slot, whole bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	whole = true
	for i := range slots {
		slots[i] = j.slots[second*slotsPerSecond+i]
		whole = whole && slots[i].pending() == 0
	}
	if whole && slotOf(j.clock()) >= (second+1)*slotsPerSecond {
		for i := range slots {
			delete(j.slots, second*slotsPerSecond+i)
		}
		return slots, true
	}
	return slots, false
}

const slotsPerSecond = int(time.Second / slotLength)

// takeEvents removes and returns the events that have not been taken.
func (j *journal) takeEvents() []event {
	j.mu.Lock()
	defer j.mu.Unlock()
	events := j.events
	j.events = nil
	return events
}

// ms is milliseconds with one decimal.
func ms(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}
