package vrrp

import "net/netip"

// replayTable has the last accepted sequence number of each source. Only what is
// authentic gets in, so that a forger cannot fill it; if it is full, the source
// that was heard longest ago is forgotten.
type replayTable struct {
	marks []replayMark
	clock uint64
}

type replayMark struct {
	src  netip.Addr
	seq  uint64
	used uint64
}

// replaySources is the least number of sources that are remembered.
const replaySources = 16

// room makes room for all peers, and keeps what is known.
func (r *replayTable) room(cfg *Config) {
	n := max(replaySources, len(cfg.Peers)+len(cfg.SecondPath.Peers))
	if n > cap(r.marks) {
		r.marks = append(make([]replayMark, 0, n), r.marks...)
	}
}

// mark is where the last sequence number of src is, and whether it has one. A new
// one must be set at once.
func (r *replayTable) mark(src netip.Addr) (seq *uint64, known bool) {
	r.clock++
	oldest := 0
	for i := range r.marks {
		m := &r.marks[i]
		if m.src == src {
			m.used = r.clock
			return &m.seq, true
		}
		if m.used < r.marks[oldest].used {
			oldest = i
		}
	}
	if len(r.marks) < cap(r.marks) {
		oldest = len(r.marks)
		r.marks = r.marks[:oldest+1]
	}
	r.marks[oldest] = replayMark{src: src, used: r.clock}
	return &r.marks[oldest].seq, false
}
