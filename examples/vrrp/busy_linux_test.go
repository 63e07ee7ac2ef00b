package main

import (
	"runtime"
	"testing"
	"time"
)

// BenchmarkBusy runs a pair with intervals of 100 ms beside programs that want
// twice the processors there are, for as long as -benchtime says (10m), and
// reports how often the Backup advertised though the Active router was alive, and
// the longest time between two advertisements of the Active one, in milliseconds.
func BenchmarkBusy(b *testing.B) {
	program := compiled(b)
	for _, kind := range []string{"lvskit", "keepalived"} {
		b.Run(kind, func(b *testing.B) {
			m := mode{version: 3, interval: 100 * time.Millisecond, vips: v4VIP}
			r := newRig(b, program, m)
			defer r.lab.Close()
			c := r.cell(b, kind, options{priority: high}, kind, options{priority: low})
			begun := time.Now()
			c.a.start(b)
			c.b.start(b)
			r.sole(b, c.a.at(), begun)
			for range 2 * runtime.NumCPU() {
				if _, err := r.client.Start("sh", "-c", "while :; do :; done"); err != nil {
					b.Fatal(err)
				}
			}
			begun = time.Now()
			for b.Loop() {
				time.Sleep(m.every()) // the time is the measurement
			}
			takeovers, longest, last := 0, time.Duration(0), time.Time{}
			for _, a := range r.adverts(begun) {
				switch {
				case a.from != c.a.at():
					takeovers++
				case !last.IsZero():
					longest = max(longest, a.at.Sub(last))
				}
				if a.from == c.a.at() {
					last = a.at
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(takeovers), "false-adverts")
			b.ReportMetric(float64(longest)/1e6, "ms-between-max")
		})
	}
}
