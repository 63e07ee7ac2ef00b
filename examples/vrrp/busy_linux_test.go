package main

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// BenchmarkBusy runs a pair with intervals of 100 ms beside programs that want
// twice the processors there are, for as long as -benchtime says (10m), and
// reports how often the Backup advertised though the Active router was alive, and
// the longest time between two advertisements of the Active one, in milliseconds.
// "real-time" is lvskit started by "chrt --rr 10".
func BenchmarkBusy(b *testing.B) {
	plain := compiled(b)
	realtime := filepath.Join(b.TempDir(), "vrrp")
	writeProgram(b, realtime, []byte("#!/bin/sh\nexec chrt --rr 10 "+plain+" \"$@\"\n"))
	for _, run := range []struct{ name, kind, program string }{
		{"lvskit", "lvskit", plain},
		{"real-time", "lvskit", realtime},
		{"keepalived", "keepalived", plain},
	} {
		b.Run(run.name, func(b *testing.B) {
			kind, program := run.kind, run.program
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
