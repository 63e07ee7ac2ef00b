package vrrp

import (
	"flag"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

var (
	simHours = flag.Int("sim-hours", 1000, "virtual hours to simulate")
	simSeed  = flag.Uint64("sim-seed", 0, "run only the scenario of this seed")
)

// thin says that what is pure and heavy should be short: it runs in full elsewhere.
func thin() bool { return testing.Short() || raceDetector || need.Emulated() }

// TestSimulation runs random scenarios, of many routers in virtual time, until the
// hours are full. With -sim-seed it runs one of them and tells its history.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		sc := newScenario(*simSeed)
		w := simulate(sc, nil, true)
		t.Logf("%v%s", sc, strings.Join(w.trace, "\n"))
		if w.judge.broken() {
			t.Error(w.judge.verdict)
		}
		return
	}
	hours := time.Duration(*simHours) * time.Hour
	if need.Emulated() || testing.Short() {
		hours /= 100
	}
	first := rand.Uint64() >> 16
	t.Logf("seeds from %d on", first)
	var next, sent, rounds, total atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for time.Duration(total.Load()) < hours && !t.Failed() {
				sc := newScenario(first + uint64(next.Add(1)))
				w := simulate(sc, nil, false)
				total.Add(int64(w.now))
				sent.Add(int64(w.sent))
				rounds.Add(int64(len(sc.rounds)))
				if w.judge.broken() {
					reportBroken(t, sc)
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%v in %d scenarios with %d rounds of trouble and %d messages", time.Duration(total.Load()), next.Load(), rounds.Load(), sent.Load())
}

// simulate runs a scenario to its end, or to where it breaks.
func simulate(sc *scenario, mutant func(*machine, time.Duration, *input), traced bool) *world {
	w := newWorld(sc)
	w.mutant, w.traced = mutant, traced
	for _, r := range sc.rounds {
		w.round(r)
		if w.judge.broken() {
			break
		}
	}
	return w
}

func (w *world) round(r round) {
	w.sc.noise, w.quiet = r.noise, false
	begin := w.now
	for _, h := range w.hosts {
		if !h.up {
			w.start(h)
		}
	}
	var later []trouble // the other ends
	for _, t := range r.trouble {
		later = w.due(later, begin+t.at)
		w.run(begin + t.at)
		if w.judge.broken() {
			return
		}
		w.note("trouble: %v", t)
		if w.begin(t) {
			t.at = w.now + t.duration
			later = append(later, t)
		}
	}
	w.due(later, begin+r.length)
	w.run(begin + r.length)
	w.heal()
	calm := w.judge.rest()
	w.run(calm + r.rest)
	if !w.judge.broken() {
		w.judge.end()
	}
}

// due ends what has to end until then.
func (w *world) due(later []trouble, until time.Duration) []trouble {
	slices.SortStableFunc(later, func(a, b trouble) int { return int(a.at - b.at) })
	for len(later) > 0 && later[0].at <= until && !w.judge.broken() {
		w.run(later[0].at)
		w.finish(later[0])
		later = later[1:]
	}
	return later
}

// begin starts a trouble and says whether it has an end before the round's.
func (w *world) begin(t trouble) (ends bool) {
	h := w.hosts[t.host]
	switch t.kind {
	case cutPath:
		w.nets[t.link][t.host][t.other].cut = true
	case isolate:
		for i := range w.hosts {
			w.nets[t.link][t.host][i].cut = true
			w.nets[t.link][i][t.host].cut = true
		}
	case stall:
		h.stalled, h.asleep = w.now+t.duration, t.value == 1
		return false
	case crash:
		w.crash(h)
		return t.value == 0
	case graceful:
		w.stop(h)
		return true
	case vetoes:
		h.veto = true
	case storm:
		w.storm(t)
		return false
	case tracker, fail, reprio, reconf, flipMode:
		return w.inform(h, t)
	}
	return true
}

// storm is what a mad program may send from a host's address.
func (w *world) storm(t trouble) {
	interval := w.sc.hosts[t.host].cfg.Interval
	for i := range 60 {
		for to := range w.hosts {
			if to != t.host && t.link < w.sc.links {
				msg := w.encode(w.hosts[t.host], t.link, t.link, uint8(t.value))
				w.post(envelope{at: w.now + interval*time.Duration(i)/40, link: t.link, from: t.host, to: to, msg: msg})
			}
		}
	}
}

// inform is what a running, awake program learns of its trackers and its owner.
func (w *world) inform(h *host, t trouble) (ends bool) {
	if !h.up || h.stalled > w.now {
		return false
	}
	for l := range h.ms {
		cfg := *h.cfgs[l]
		in := input{kind: inConfig, cfg: &cfg}
		switch t.kind {
		case tracker:
			h.weights = t.value
			in = input{kind: inPriority, priority: w.effective(h, l)}
		case fail:
			if l == t.link%len(h.ms) {
				w.step(h, l, input{kind: inFault, fault: t.fault, on: true})
			}
			continue
		case reprio:
			cfg.Priority = uint8(t.value)
		case reconf:
			if cfg.Version == V2 {
				continue
			}
			base := w.sc.hosts[h.id].cfg.Interval
			cfg.Interval = centiseconds(base * time.Duration(t.value) / 100)
		case flipMode:
			cfg.NoPreempt, cfg.PreemptDelay = t.value == 1, time.Duration(t.value/2*4)*cfg.Interval
		}
		if in.kind == inConfig {
			h.cfgs[l] = &cfg
			h.wires[l].config(&cfg)
			in.priority = w.effective(h, l)
		}
		w.step(h, l, in)
	}
	return t.kind == fail
}

func (w *world) finish(t trouble) {
	h := w.hosts[t.host]
	switch t.kind {
	case cutPath:
		w.nets[t.link][t.host][t.other].cut = false
	case isolate:
		for i := range w.hosts {
			w.nets[t.link][t.host][i].cut = false
			w.nets[t.link][i][t.host].cut = false
		}
	case crash, graceful:
		if !h.up {
			w.start(h)
		}
	case vetoes:
		h.veto = false
	case fail:
		if h.up && h.stalled <= w.now {
			w.step(h, t.link%len(h.ms), input{kind: inFault, fault: t.fault})
		}
	}
}

// heal ends all trouble but crashes and half of the faults.
func (w *world) heal() {
	for _, h := range w.hosts {
		if h.stalled > w.now {
			w.run(h.stalled)
		}
		h.veto = false
	}
	w.note("all is well from here on")
	w.judge.calm = math.MaxInt64
	for l := range w.nets {
		for i := range w.nets[l] {
			clear(w.nets[l][i])
		}
	}
	// Messages of the trouble that are still on their way arrive now.
	var late time.Duration
	for _, e := range w.air {
		late = max(late, e.at)
	}
	w.sc.noise = noise{}
	w.run(late)
	w.quiet = true
	for _, h := range w.hosts {
		if !h.up {
			continue
		}
		for l, m := range h.ms {
			for _, f := range m.faults() {
				if f != ReasonGroup && f != ReasonDuplicateOwner && w.rand.IntN(2) == 0 {
					w.step(h, l, input{kind: inFault, fault: f})
				}
			}
		}
	}
}

// reportBroken makes the scenario as small as it breaks, and tells its history.
func reportBroken(t *testing.T, sc *scenario) {
	t.Helper()
	sc = shrink(sc, nil)
	w := simulate(sc, nil, true)
	if n := len(w.trace); n > 120 {
		w.trace = w.trace[n-120:]
	}
	t.Errorf("%s\n%v%s", w.judge.verdict, sc, strings.Join(w.trace, "\n"))
}

// shrink takes away what is not needed for the break.
func shrink(sc *scenario, mutant func(*machine, time.Duration, *input)) *scenario {
	for again := true; again; {
		again = false
		for _, c := range sc.smaller() {
			if simulate(c, mutant, false).judge.broken() {
				sc, again = c, true
				break
			}
		}
	}
	return sc
}
