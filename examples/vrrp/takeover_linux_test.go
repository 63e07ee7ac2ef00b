package main

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkTakeover kills the Active router of a pair, or lets it resign, each time
// on a network of its own (-benchtime 100x), and reports how much later than the
// protocol's bound the other one's first advertisement comes: median, 99th
// percentile and maximum, in microseconds.
func BenchmarkTakeover(b *testing.B) {
	program := compiled(b)
	for _, interval := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond} {
		for _, how := range []struct {
			name   string
			signal syscall.Signal
		}{{"killed", syscall.SIGKILL}, {"resigned", syscall.SIGTERM}} {
			for _, kind := range []string{"lvskit", "keepalived"} {
				b.Run(interval.String()+"/"+how.name+"/"+kind, func(b *testing.B) {
					m := mode{version: 3, interval: interval, vips: v4VIP}
					var late []time.Duration
					for b.Loop() {
						late = append(late, takeover(b, program, m, kind, how.signal))
					}
					slices.Sort(late)
					report := func(d time.Duration, unit string) { b.ReportMetric(float64(d)/1e3, unit) }
					b.ReportMetric(0, "ns/op") // the time of a round says nothing
					report(late[len(late)/2], "us-late-p50")
					report(late[(len(late)-1)*99/100], "us-late-p99")
					report(late[len(late)-1], "us-late-max")
				})
			}
		}
	}
}

// takeover is how much later than the bound a Backup of priority 100 takes over.
func takeover(b *testing.B, program string, m mode, kind string, end syscall.Signal) time.Duration {
	r := newRig(b, program, m)
	defer r.lab.Close()
	c := r.cell(b, kind, options{priority: high}, kind, options{priority: low})
	begun := time.Now()
	c.a.start(b)
	c.b.start(b)
	r.sole(b, c.a.at(), begun)
	begun = time.Now()
	c.a.signal(b, end)
	r.sole(b, c.b.at(), begun)
	gap, last := r.gap(b, c.a.at(), c.b.at(), begun)
	bound := m.skew(low)
	if last != 0 {
		bound += 3 * m.every()
	}
	if resigned := last == 0; resigned != (end == syscall.SIGTERM) {
		b.Fatalf("after %v the last advertisement has priority %d", end, last)
	}
	return gap - bound
}
