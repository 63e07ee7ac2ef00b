package vrrp

import (
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// mutants are machines with known faults, made by changing what they are told or
// what they remember. An input of kind 0 is withheld.
var mutants = []struct {
	name  string
	fault func(m *machine, now time.Duration, in *input)
}{
	{"no tie-break", func(m *machine, _ time.Duration, in *input) {
		if m.state == Active && in.kind == inAdvert && in.priority == m.priority {
			in.kind = 0
		}
	}},
	{"a lower advertisement resets the timer", func(m *machine, _ time.Duration, in *input) {
		if m.state == Backup && in.kind == inAdvert && in.priority != 0 {
			in.priority = max(in.priority, m.priority)
		}
	}},
	{"no fence", func(m *machine, now time.Duration, _ *input) {
		m.reign.sent = now
	}},
	{"NoPreempt is ignored", func(m *machine, _ time.Duration, _ *input) {
		cfg := *m.cfg
		cfg.NoPreempt = false
		m.cfg = &cfg
	}},
	{"PreemptDelay never ends", func(m *machine, _ time.Duration, _ *input) {
		m.wait.delayFrom = 1 << 61
	}},
	{"the members of a group are on their own", func(m *machine, _ time.Duration, in *input) {
		if in.kind == inStart {
			m.group = NewGroup("")
			m.group.members = []*machine{m}
		}
	}},
	{"the interval is not learned", func(m *machine, _ time.Duration, in *input) {
		if in.kind == inAdvert || in.kind == inBeat {
			in.interval = m.cfg.Interval
		}
	}},
	{"a worse router teaches its interval", func(m *machine, _ time.Duration, _ *input) {
		m.wait.follows = otherActive{}
	}},
	{"answers are not coalesced", func(m *machine, now time.Duration, in *input) {
		if in.kind == inAdvert {
			m.answers.last, m.reign.owing = now-m.cfg.Interval, false
		}
	}},
	{"answers to priority 0 have no limit", func(m *machine, _ time.Duration, _ *input) {
		m.answers.zeros = 0
	}},
	{"advertisements count for nothing in Active", func(m *machine, _ time.Duration, in *input) {
		if m.state == Active && in.kind == inAdvert {
			in.kind = 0
		}
	}},
	{"it sleeps through one deadline in Active", func(m *machine, _ time.Duration, in *input) {
		if m.state == Active && in.kind == inTick && len(m.reign.rivals) > 0 {
			m.reign.advertAt += 10 * m.cfg.Interval
		}
	}},
	{"a Backup that was asleep takes over at once", func(m *machine, now time.Duration, _ *input) {
		if m.state == Backup {
			m.wait.since += max(0, now-m.downAt())
		}
	}},
	{"the witness is asked and forgotten", func(m *machine, _ time.Duration, in *input) {
		if in.kind == inWitness && !in.on {
			in.kind = 0
		}
	}},
	{"a fault that is over stays", func(m *machine, _ time.Duration, in *input) {
		if in.kind == inFault && !in.on && m.causes.n > 1 {
			in.kind = 0
		}
	}},
}

// TestSimulationFindsFaults runs machines with known faults until the judge
// objects.
func TestSimulationFindsFaults(t *testing.T) {
	known := mutants
	if need.Emulated() {
		known = known[:2]
	}
	for _, mutant := range known {
		t.Run(mutant.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 3000; seed++ {
				sc := newScenario(seed)
				if w := simulate(sc, mutant.fault, false); w.judge.broken() {
					t.Logf("seed %d: %s", seed, w.judge.verdict)
					if testing.Verbose() && !thin() {
						small := shrink(sc, mutant.fault)
						t.Logf("smallest:\n%v%s", small, simulate(small, mutant.fault, false).judge.verdict)
					}
					return
				}
			}
			t.Error("it was not found in 3000 scenarios")
		})
	}
}
