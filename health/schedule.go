package health

import (
	"math"
	"time"
)

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// schedule is the heap of probes by the time at which something is to be done
// about them. Times are those of the Monitor's clock.
type schedule struct {
	heap []*probe
}

// first is when the first is due.
func (s *schedule) first() time.Duration {
	if len(s.heap) == 0 {
		return never
	}
	return s.heap[0].at
}

// set moves a probe to another time, in or out of the heap.
func (s *schedule) set(p *probe, at time.Duration) {
	if at == never {
		s.remove(p)
		return
	}
	p.at = at
	if !p.planned {
		p.planned, p.pos = true, len(s.heap)
		s.heap = append(s.heap, p)
	}
	s.fix(p.pos)
}

// remove takes a probe out, if it is in.
func (s *schedule) remove(p *probe) {
	if !p.planned {
		return
	}
	n, last := p.pos, len(s.heap)-1
	s.swap(n, last)
	s.heap[last] = nil
	s.heap = s.heap[:last]
	p.planned = false
	if n < last {
		s.fix(n)
	}
}

// pop takes the first out if its time has come.
func (s *schedule) pop(now time.Duration) *probe {
	if s.first() > now {
		return nil
	}
	p := s.heap[0]
	s.remove(p)
	return p
}

func (s *schedule) fix(n int) {
	s.up(n)
	s.down(n)
}

func (s *schedule) swap(a, b int) {
	h := s.heap
	h[a], h[b] = h[b], h[a]
	h[a].pos, h[b].pos = a, b
}

func (s *schedule) up(n int) {
	for n > 0 && s.heap[n].at < s.heap[(n-1)/2].at {
		s.swap(n, (n-1)/2)
		n = (n - 1) / 2
	}
}

func (s *schedule) down(n int) {
	for {
		child := 2*n + 1
		if child >= len(s.heap) {
			return
		}
		if child+1 < len(s.heap) && s.heap[child+1].at < s.heap[child].at {
			child++
		}
		if s.heap[n].at <= s.heap[child].at {
			return
		}
		s.swap(n, child)
		n = child
	}
}

// Probes that have not been made yet are spread over firstSpread, and firstEach
// more for each of them, so that few checks are known at once and many do not
// begin all together.
const (
	firstSpread = 100 * time.Millisecond
	firstEach   = time.Millisecond
)

// firstAfter is how long a new check waits for its first probe when fresh checks
// have not been probed yet. It depends on the name, so that it is not the same for all.
func firstAfter(name string, interval time.Duration, fresh int) time.Duration {
	spread := min(interval, firstSpread+time.Duration(fresh)*firstEach)
	return time.Duration(hash(name) % uint64(spread))
}

// hash is FNV-1a, with its low bits mixed well.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h ^= h >> 32
	return h * 0x9e3779b97f4a7c15 >> 1
}

// nextAfter is when a probe begins that follows one which was due, began and ended
// at these times. What was missed because the start was late is not made up for, and
// does not move all that follow: those that all were late at once would be in
// step ever after.
func nextAfter(due, began, ended, wait time.Duration) time.Duration {
	next := due + wait
	if short := began + wait/2 - next; short > 0 {
		next += (short + wait - 1) / wait * wait
	}
	return max(next, ended)
}

// jittered is the wait with its share of chance, which is from -1 to 1.
func jittered(wait time.Duration, share, chance float64) time.Duration {
	return wait + time.Duration(float64(wait)*share*chance)
}
