package nat

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// While rules change, each packet meets those before or those after the change: never
// none, and never some of both.
func TestPacketsWhileRulesChange(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		w := newWire(t)
		table := w.table(b)
		var sets [2][]Rule
		for i, to := range []string{"web", "db"} {
			for _, v6 := range []bool{false, true} {
				sets[i] = append(sets[i], rules(t,
					expand("dnat: tcp destination {pub:80} to {"+to+":8080}", v6),
					expand("dnat: tcp destination {pub:70-90} to {"+to+"}", v6),
					expand("dnat: tcp source {outside} destination {pub:100-109} to {"+to+":200-209}", v6),
					expand("snat: source {inside} out eth1 to {"+[]string{"pub", "vip"}[i]+"}", v6),
				)...)
			}
		}
		w.apply(table, sets[0])
		applied, stop := w.keepApplying(table, sets)
		met := [2]int{}
		least, patience := int64(8), time.Now().Add(20*time.Second)
		if need.Emulated() {
			least = 2
		}
		for (applied.Load() < least || met[0] == 0 || met[1] == 0) && time.Now().Before(patience) {
			for _, text := range []string{"tcp client > pub:80 = nowhere", "tcp client > pub:71 = nowhere", "tcp client > pub:105 = nowhere", "tcp pc > far:443 = nowhere"} {
				for _, v6 := range []bool{false, true} {
					e, err := parseExpected(text, v6)
					must(t, err)
					which := w.either(sets, w.fresh(e.packet))
					met[which]++
				}
			}
		}
		stop()
		t.Logf("%d packets met one set, %d the other", met[0], met[1])
		if met[0] == 0 || met[1] == 0 {
			t.Error("all packets met the same set: nothing is shown")
		}
	})
}

// keepApplying applies the sets in turn beside the test, and counts how often, until it
// is stopped.
func (w *wire) keepApplying(table *Table, sets [2][]Rule) (applied *atomic.Int64, stop func()) {
	applied = new(atomic.Int64)
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			if _, err := table.Apply(ctx, sets[i%2]); err != nil && ctx.Err() == nil {
				w.t.Error(err)
			}
			applied.Add(1)
		}
	})
	stop = func() {
		cancel()
		running.Wait()
	}
	w.t.Cleanup(stop)
	return applied, stop
}

// either tells which set a packet has met.
func (w *wire) either(sets [2][]Rule, p packet) int {
	w.t.Helper()
	got, err := w.probe(p, patience(arrival{at: "somewhere"}))
	must(w.t, err)
	for i, list := range sets {
		if want, _ := w.machine.deliver(list, p); got.is(want) {
			return i
		}
	}
	w.t.Fatalf("%s arrived: %s", p, got)
	return 0
}
