package userspace

import "github.com/lvskit/lvskit/ipvs"

// weightedRoundRobin is wrr (ip_vs_wrr.c): it walks the list again and again and
// takes who has at least the weight that a round asks for, which is highest in
// the first round and lower by step in each one after it. The last round takes
// everybody.
type weightedRoundRobin struct {
	at      int // index of the last choice, or beforeFirst
	step    int // greatest common divisor of the weights, at least 1
	first   int // what the first round asks for; zero: nobody has a weight
	current int // what this round asks for
}

func newWeightedRoundRobin(s *service) *weightedRoundRobin {
	w := &weightedRoundRobin{}
	w.measure(s)
	w.current = w.first
	return w
}

// measure begins at the head of the list, with the weights that there are now.
func (w *weightedRoundRobin) measure(s *service) {
	divisor, most := 0, 0
	for _, d := range s.dests {
		divisor, most = gcd(divisor, d.Weight), max(most, d.Weight)
	}
	w.at, w.step = beforeFirst, max(divisor, 1)
	w.first = most - (w.step - 1) // so that the last round asks for 1
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (w *weightedRoundRobin) changed(s *service, _ ipvs.ChangeOp, _ *destination) {
	w.measure(s)
	switch {
	case w.current > w.first || w.current == 0:
		w.current = w.first
	case w.step > 1:
		w.current = w.current/w.step*w.step + 1
	}
}

func (w *weightedRoundRobin) pick(s *service, _ flow) *destination {
	if w.first == 0 {
		return nil
	}
	from, until := w.at, len(s.dests)
	last, again := false, false // this is the last round; the rounds have begun anew
	for {
		for w.at++; w.at < len(s.dests); w.at++ {
			if d := s.dests[w.at]; !d.overload && d.Weight >= w.current {
				return d
			}
			if w.at == until {
				return nil
			}
		}
		w.at = beforeFirst
		w.current -= w.step
		w.skip(s)
		if w.current <= 0 {
			w.current = w.first
			if last || from == beforeFirst {
				return nil
			}
			again = true
		}
		if last = w.current <= w.step; last && again && from != beforeFirst {
			until = from // the first walk was of the last round, but only of those after from
		}
	}
}

// skip leaves out the rounds in which nobody has what they ask for. The kernel
// walks each one of them.
func (w *weightedRoundRobin) skip(s *service) {
	if w.current <= w.step {
		return
	}
	most := 1
	for _, d := range s.dests {
		if !d.overload {
			most = max(most, d.Weight)
		}
	}
	if w.current > most {
		w.current -= (w.current - most + w.step - 1) / w.step * w.step
	}
}
