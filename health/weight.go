package health

import (
	"math"
	"time"
)

// maxWeight is the largest weight that IPVS takes.
const maxWeight = math.MaxInt32

// capped is a weight that IPVS takes.
func capped(w int64) int { return int(min(max(w, 0), maxWeight)) }

// apply is the weight that the configured one becomes, 0 to 2147483647. A
// configured weight of 0 stays: it is how a person takes a server out.
func (w Weight) apply(base int) int {
	n := min(max(int64(w.N), -maxWeight), maxWeight)
	full := int64(capped(int64(base)))
	switch {
	case full == 0:
		return 0
	case w.Op == SetWeight:
		return capped(n)
	case w.Op == AddWeight:
		return capped(full + n)
	case w.Op == ScaleWeight && n > 0:
		return capped(max(full*n/100, 1))
	case w.Op == ScaleWeight:
		return 0
	}
	return int(full)
}

// rise is the slow start of a member.
type rise struct {
	on    bool
	since time.Time
}

// riseSteps are the steps of a slow start. Each is a change of the table.
const riseSteps = 20

// weight is the part of the full weight that a member has by now, and when it
// changes; zero if it is all.
func (r rise) weight(now time.Time, over time.Duration, full int) (int, time.Time) {
	elapsed := max(now.Sub(r.since), 0)
	if !r.on || elapsed >= over || full <= 1 {
		return full, time.Time{}
	}
	step := stepAt(elapsed, over)
	weight := stepWeight(step, full)
	for next := step + 1; next <= riseSteps; next++ {
		if stepWeight(next, full) > weight {
			return weight, r.since.Add(stepTime(next, over))
		}
	}
	return weight, time.Time{}
}

// stepAt is the number of whole steps in the time, 0 to 20; stepTime is its
// inverse, rounded up to the nanosecond.
func stepAt(elapsed, over time.Duration) int64 {
	step := int64(float64(elapsed) / float64(over) * riseSteps)
	for step > 0 && stepTime(step, over) > elapsed {
		step--
	}
	for step < riseSteps && stepTime(step+1, over) <= elapsed {
		step++
	}
	return step
}

func stepTime(step int64, over time.Duration) time.Duration {
	whole, rest := int64(over)/riseSteps, int64(over)%riseSteps
	return time.Duration(whole*step + (rest*step+riseSteps-1)/riseSteps)
}

// stepWeight is a tenth of the weight at step 0 and all of it at the last.
func stepWeight(step int64, full int) int {
	const tenth, whole = riseSteps, 10 * riseSteps
	return capped(max(int64(full)*(tenth+9*step)/whole, 1))
}
