package vrrp

import "time"

// schedule is the heap of deadlines. It is lazy: an instance whose deadline moves
// away, as that of a Backup does with each advertisement, stays where it is until
// its old time comes.
type schedule struct {
	heap []*instance
}

// next is when the first deadline may be.
func (s *schedule) next() time.Duration {
	if len(s.heap) == 0 {
		return never
	}
	return s.heap[0].at
}

// first is when the first deadline is: those in front that have moved away
// meanwhile go where they belong. So nobody is woken up for a deadline that is none
// any more.
func (s *schedule) first() time.Duration {
	for len(s.heap) > 0 {
		i := s.heap[0]
		at := i.deadline()
		if at <= i.at {
			return i.at
		}
		i.at = at
		s.down(0)
	}
	return never
}

// set makes sure that the instance is looked at by that time.
func (s *schedule) set(i *instance, at time.Duration) {
	switch {
	case i.pos >= 0 && at >= i.at:
		return
	case i.pos < 0 && at == never:
		return
	case i.pos < 0:
		i.pos = len(s.heap)
		s.heap = append(s.heap, i)
	}
	i.at = at
	s.up(i.pos)
}

// pop takes the first instance away if its time has come.
func (s *schedule) pop(now time.Duration) *instance {
	if len(s.heap) == 0 || s.heap[0].at > now {
		return nil
	}
	first, last := s.heap[0], len(s.heap)-1
	s.swap(0, last)
	s.heap[last] = nil
	s.heap = s.heap[:last]
	first.pos = -1
	s.down(0)
	return first
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
