package sysctl

import (
	"cmp"
	"slices"
)

// step is what happened to one key: by a change of ours, or because the kernel
// reset it along with another one.
type step struct {
	old, new string
	change   *Change // nil for a reset
}

// planUndo finds what of these changes can be taken back where the kernel has
// the values in have. back holds a value for every key that is there and that
// the changes touched, in the order in which to set it: for one that another
// has set since, it is the present one, which is to survive what the kernel
// resets when the others go back. Those are in left, if a change of ours was
// about them.
func planUndo(have Values, changes []Change) (back, left []Change) {
	steps := make(map[Key][]step)
	for i, c := range changes {
		k := canonical(c.Key)
		steps[k] = append(steps[k], step{normal(c.Old), normal(c.New), &changes[i]})
		for _, r := range c.Resets {
			k := canonical(r.Key)
			steps[k] = append(steps[k], step{normal(r.Old), normal(r.New), nil})
		}
	}
	for _, k := range slices.Backward(undoKeys(changes)) {
		now, ok := have[k]
		if !ok {
			continue
		}
		value, ours := origin(steps[canonical(k)], normal(now))
		if c := lastChange(steps[canonical(k)]); !ours && c != nil {
			left = append(left, *c)
		}
		if value == normal(now) {
			value = now
		}
		back = append(back, Change{Key: k, Old: now, New: value, Reason: "as it was before"})
	}
	slices.SortStableFunc(back, func(a, b Change) int { return cmp.Compare(rank(a.Key), rank(b.Key)) })
	return back, left
}

// undoKeys are the keys that the changes touched, each once.
func undoKeys(changes []Change) []Key {
	var keys []Key
	seen := make(map[Key]bool)
	add := func(k Key) {
		if !seen[canonical(k)] {
			seen[canonical(k)] = true
			keys = append(keys, k)
		}
	}
	for _, c := range changes {
		add(c.Key)
		for _, r := range c.Resets {
			add(r.Key)
		}
	}
	return keys
}

// origin follows the steps back from the present value, as far as each began
// where the one before it had ended, to the value before the first. A present
// value that the last step neither made nor found is another's; so it stays,
// unless it is the first one again.
func origin(steps []step, now string) (value string, ours bool) {
	last := steps[len(steps)-1]
	follow := func(v string) string {
		for _, s := range slices.Backward(steps) {
			if s.new == v {
				v = s.old
			}
		}
		return v
	}
	if now == last.new || now == last.old {
		return follow(now), true
	}
	return now, follow(last.new) == now
}

func lastChange(steps []step) *Change {
	for _, s := range slices.Backward(steps) {
		if s.change != nil {
			return s.change
		}
	}
	return nil
}
