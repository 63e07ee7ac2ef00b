package sysctl

import "slices"

// undo is the plan of a restore.
type undo struct {
	writes []undoWrite
	left   []Change // what another has changed since
}

// undoWrite is a change back, and the change that it takes back.
type undoWrite struct {
	back Change
	of   Change
}

// planUndo finds what of these changes can be taken back where the kernel has
// the values in have. A key that is missing is gone, with an interface or a
// module, and nothing is to be done for it; so it is where the old value is
// there already.
//
// A key may have been changed several times: then one write brings it from
// the last value to the first, as far as each change began where the one
// before it had ended.
func planUndo(have Values, changes []Change) undo {
	var u undo
	done := make(map[Key]bool)
	for i, c := range slices.Backward(changes) {
		if done[canonical(c.Key)] {
			continue
		}
		done[canonical(c.Key)] = true
		now, ok := have[c.Key]
		now = normal(now)
		start := now
		if now != normal(c.Old) {
			start = normal(c.New)
		}
		first, resets := origin(changes[:i+1], c.Key, start)
		switch {
		case !ok || now == normal(first):
		case now != start:
			u.left = append(u.left, c)
		default:
			back := Change{Key: c.Key, Old: now, New: first, Reason: "as it was before", Resets: resets}
			u.writes = append(u.writes, undoWrite{of: c, back: back})
		}
	}
	return u
}

// origin follows a key's changes back from this value to the one before the
// first of them, and returns what the kernel reset with that one.
func origin(changes []Change, k Key, value string) (string, []Reset) {
	var resets []Reset
	for _, c := range slices.Backward(changes) {
		if canonical(c.Key) == canonical(k) && normal(c.New) == normal(value) {
			value, resets = c.Old, c.Resets
		}
	}
	return value, resets
}

// afterReset are the writes that follow when w has been written and the
// kernel has reset other keys by itself: those that were ours go back to what
// they were before, those that another has set keep what they had just now.
func afterReset(w undoWrite, before, after Values, left []Change) []Change {
	var writes []Change
	for _, r := range w.back.Resets {
		had, ok := before[r.Key]
		now, still := after[r.Key]
		if !ok || !still {
			continue
		}
		foreign := slices.ContainsFunc(left, func(c Change) bool { return c.Key == r.Key })
		value := had
		if !foreign && normal(had) == normal(r.New) {
			value = r.Old
		}
		if normal(now) != normal(value) {
			writes = append(writes, Change{Key: r.Key, Old: now, New: value, Reason: "as it was before"})
		}
	}
	return writes
}
