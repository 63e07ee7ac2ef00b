package nat

// nftState is what a change of the table of nftables has to know.
type nftState struct {
	generation uint32
	// handles are those of the ordered rules, nil if they are to be read first.
	handles *handles
	// hairpins are how many rules have an element, by the sets that are there: empty
	// ones too.
	hairpins map[hairpinLength]map[string]int
}

// hairpinLength is what a set of hairpins is for.
type hairpinLength struct {
	v6   bool
	bits int
}

// handles are the kernel's numbers of rules, in up to two chains.
type handles struct {
	list  []Rule // with holes: rules without an action
	of    [][2]uint64
	free  []int // where the holes are
	index *index
}

func newHandles(size int) *handles { return &handles{index: newIndex(size)} }

// get is the handles of a rule, zero for one that is not there.
func (h *handles) get(r *Rule) [2]uint64 {
	if h == nil {
		return [2]uint64{}
	}
	if i := h.index.find(h.list, r); i >= 0 {
		return h.of[i]
	}
	return [2]uint64{}
}

// set notes the handle of a rule in its first or second chain.
func (h *handles) set(r *Rule, chain int, handle uint64) {
	i := h.index.find(h.list, r)
	if i < 0 {
		if n := len(h.free); n > 0 {
			i, h.free = h.free[n-1], h.free[:n-1]
		} else {
			i = len(h.list)
			h.list, h.of = append(h.list, Rule{}), append(h.of, [2]uint64{})
		}
		h.list[i], h.of[i] = *r, [2]uint64{}
		h.index.add(h.list, i)
	}
	h.of[i][chain] = handle
}

func (h *handles) remove(r *Rule) {
	i := h.index.find(h.list, r)
	if i < 0 {
		return
	}
	h.index.remove(h.list, i)
	h.list[i], h.free = Rule{}, append(h.free, i)
}
