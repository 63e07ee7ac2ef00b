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
		if !ok || now == normal(c.Old) && !changedBefore(changes[:i], c.Key, now) {
			continue
		}
		if now != normal(c.New) && now != normal(c.Old) {
			u.left = append(u.left, c)
			continue
		}
		w := undoWrite{of: c, back: Change{Key: c.Key, Old: now, New: now, Reason: "as it was before"}}
		for _, e := range slices.Backward(changes[:i+1]) {
			if canonical(e.Key) == canonical(c.Key) && normal(e.New) == normal(w.back.New) {
				w.back.New = e.Old
				w.back.Resets = e.Resets
			}
		}
		if normal(w.back.New) != now {
			u.writes = append(u.writes, w)
		}
	}
	return u
}

// changedBefore tells whether an earlier change of the key made this value.
func changedBefore(changes []Change, k Key, value string) bool {
	return slices.ContainsFunc(changes, func(c Change) bool { return canonical(c.Key) == canonical(k) && normal(c.New) == value })
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
