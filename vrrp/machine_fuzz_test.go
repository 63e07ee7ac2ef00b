package vrrp

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

// FuzzMachine gives two machines, in one sync group or not, any inputs in any
// state: what they tell must be consistent, and a tick must get them on.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 2, 9, 9, 2, 9, 3, 200, 7, 2, 9})
	f.Add([]byte{7, 0, 0, 0, 0, 0, 0, 2, 9, 9, 16, 3, 2, 200, 9, 2, 0, 9, 6, 1, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		next := func() byte {
			if len(b) == 0 {
				return 0
			}
			v := b[0]
			b = b[1:]
			return v
		}
		flags := next()
		ms := fuzzMachines(flags, next)
		seen := map[*machine]State{}
		held := map[*machine]bool{}
		now := time.Duration(0)
		for len(b) > 0 {
			m := ms[next()&1]
			now += time.Duration(next()) * 50 * time.Millisecond
			in := fuzzInput(m, flags, next)
			for _, a := range m.step(now, in) {
				switch {
				case a.kind == actAcquire || a.kind == actRelease:
					held[a.m] = a.kind == actAcquire
				case a.kind == actEvent && a.event.Kind == Transition:
					if a.event.From != seen[a.m] || a.event.Reason == 0 {
						t.Fatalf("was %v and tells of %v", seen[a.m], a.event)
					}
					seen[a.m] = a.event.To
				}
			}
			for _, m := range ms {
				if m.state != seen[m] || held[m] != (m.state == Active) {
					t.Fatalf("is %v, has told of %v, holds %v", m.state, seen[m], held[m])
				}
			}
			if at, ok := m.deadline(); ok && in.kind == inTick && at <= now {
				t.Fatalf("%v at %v still has the deadline %v", m.state, now, at)
			}
		}
	})
}

func fuzzMachines(flags byte, next func() byte) []*machine {
	group := NewGroup("g")
	var ms []*machine
	for i := range 2 {
		cfg := &Config{
			Version: V3, Priority: max(1, next()), Interval: time.Second, DownCount: 3,
			Source: netip.AddrFrom4([4]byte{10, 0, byte(i), 5}), NoPreempt: flags&2 != 0,
		}
		if flags&1 != 0 {
			cfg.Group = group
		}
		if flags&4 != 0 {
			cfg.Witness = func(context.Context) error { return nil }
		}
		if flags&8 != 0 {
			cfg.PreemptDelay, cfg.StartupDelay, cfg.TakeoverDelay = 5*time.Second, 3*time.Second, time.Second/2
		}
		ms = append(ms, newMachine(cfg))
	}
	return ms
}

func fuzzInput(m *machine, flags byte, next func() byte) input {
	in := input{kind: inputKind(next()%byte(inWitness)) + 1}
	v := next()
	switch in.kind {
	case inAdvert, inBeat, inRival:
		in.priority, in.interval = v, time.Duration(next()%8)*500*time.Millisecond
		in.from = netip.AddrFrom4([4]byte{10, 0, 0, next() % 8})
		if in.kind == inRival {
			in.priority = max(1, v)
		}
	case inSource:
		in.local = netip.AddrFrom4([4]byte{10, 0, 0, v})
	case inFault:
		in.fault, in.on = ReasonLink+Reason(v%4), v&128 != 0
	case inPriority:
		if in.priority = m.cfg.Priority; in.priority != owner {
			in.priority = min(max(1, v), 254)
		}
	case inConfig:
		cfg := *m.cfg
		cfg.Priority, cfg.Interval = max(1, v), time.Duration(1+next()%10)*100*time.Millisecond
		in.cfg = &cfg
	case inWitness:
		in.on = v&1 != 0
	}
	return in
}
