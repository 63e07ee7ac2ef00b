package vrrp

// weight is what a tracker does to the priority. A value above 0 is added while it
// is up, one below 0 subtracted while it is down, and 0 means that the Router is
// in Fault while it is down.
type weight struct {
	value int
	up    bool
}

// effective is the priority with the trackers' weights: between 1 and 254, and the
// owner's is always 255. fault says that a tracker of weight 0 is down.
func effective(base uint8, trackers []weight) (priority uint8, fault bool) {
	sum := int64(base)
	for _, t := range trackers {
		switch {
		case t.value > 0 && t.up, t.value < 0 && !t.up:
			sum += min(max(int64(t.value), -1<<32), 1<<32)
		case t.value == 0 && !t.up:
			fault = true
		}
	}
	if base == owner {
		return owner, fault
	}
	return uint8(min(max(sum, 1), owner-1)), fault
}
