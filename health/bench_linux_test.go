package health

import (
	"context"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// benchSpan is how long one operation of these benchmarks lasts.
const benchSpan = 10 * time.Second

// A gauge is a Prober that measures how exactly it is called every second.
type gauge struct {
	inner Prober // nil passes
	last  time.Time
	all   *gauges
}

// gauges are what all have measured: how many intervals were off by less than
// 2^n microseconds.
type gauges struct {
	fires atomic.Int64
	off   [32]atomic.Int64
	most  atomic.Int64
}

func (g *gauge) Probe(ctx context.Context) (Report, error) {
	now := time.Now()
	if !g.last.IsZero() {
		off := (now.Sub(g.last) - time.Second).Abs()
		g.all.off[min(bits.Len64(uint64(off.Microseconds())), 31)].Add(1)
		for most := g.all.most.Load(); int64(off) > most && !g.all.most.CompareAndSwap(most, int64(off)); most = g.all.most.Load() {
		}
	}
	g.last = now
	g.all.fires.Add(1)
	if g.inner == nil {
		return Report{}, nil
	}
	return g.inner.Probe(ctx)
}

// median is the bound that half of the intervals kept.
func (g *gauges) median() time.Duration {
	total, sum := int64(0), int64(0)
	for n := range g.off {
		total += g.off[n].Load()
	}
	for n := range g.off {
		if sum += g.off[n].Load(); 2*sum >= total {
			return time.Microsecond << n
		}
	}
	return 0
}

// heap is the memory in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// BenchmarkMonitor is the Monitor with so many checks a second. An operation is ten
// seconds; the metrics are of those:
//
//	us/fire       processor time of a probe, all included
//	%core         processor time of the process
//	B/check       memory of a check that is idle
//	off-med-us    by how much intervals were off, the bound that half of them kept
//	off-max-us    and the worst
//	fd-most       descriptors at most
//	inconclusive, down  results that should not be
func BenchmarkMonitor(b *testing.B) {
	for _, checks := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("none/checks=%d", checks), func(b *testing.B) { benchMonitor(b, checks, nil) })
	}
	b.Run("TCP/checks=10000", func(b *testing.B) {
		benchMonitor(b, 10_000, TCP{Addr: child(b, "tcp server"), Reset: true})
	})
}

func benchMonitor(b *testing.B, checks int, inner Prober) {
	all := &gauges{}
	probers := make([]gauge, checks)
	ids := make([]string, checks)
	for n := range probers {
		probers[n] = gauge{inner: inner, all: all}
		ids[n] = fmt.Sprintf("10.%d.%d.%d:80", n>>16, n>>8&255, n&255)
	}
	before := heap()
	m, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	for n := range probers {
		if err := m.Set(ids[n], Check{Prober: &probers[n], Interval: time.Second, Jitter: -1}); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	time.Sleep(3 * time.Second) // all have begun
	for b.Loop() {
		fires, busy, most := all.fires.Load(), processorTime(b), 0
		for range 100 {
			time.Sleep(benchSpan / 100)
			if inner != nil {
				most = max(most, descriptors(b))
			}
		}
		fired, took := all.fires.Load()-fires, processorTime(b)-busy
		b.ReportMetric(float64(took.Microseconds())/float64(fired), "us/fire")
		b.ReportMetric(float64(fired)/benchSpan.Seconds(), "fires/s")
		b.ReportMetric(took.Seconds()/benchSpan.Seconds()*100, "%core")
		b.ReportMetric(float64(most), "fd-most")
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	inconclusive, down := 0, 0
	for _, s := range m.Snapshot() {
		inconclusive += int(s.Stats.Inconclusive)
		down += int(s.Stats.Failed)
	}
	b.ReportMetric((float64(heap())-float64(before))/float64(checks), "B/check")
	b.ReportMetric(float64(all.median().Microseconds()), "off-med-us")
	b.ReportMetric(float64(all.most.Load()/1000), "off-max-us")
	b.ReportMetric(float64(inconclusive), "inconclusive")
	b.ReportMetric(float64(down), "down")
	b.ReportMetric(0, "ns/op") // says nothing here
	runtime.KeepAlive(m)
}

// descriptors is how many this process has.
func descriptors(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names) - 1 // that of the folder
}
