package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The heap gives back what a sorted list would, whatever is moved or taken out.
func TestSchedule(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var s schedule
	probes := make([]*probe, 50)
	for n := range probes {
		probes[n] = &probe{}
	}
	at := map[*probe]time.Duration{}
	for range 20_000 {
		p := probes[r.IntN(len(probes))]
		switch r.IntN(4) {
		case 0:
			s.remove(p)
			delete(at, p)
		case 1:
			now := time.Duration(r.IntN(100))
			first := s.pop(now)
			least := never
			for _, a := range at {
				least = min(least, a)
			}
			if first == nil && least <= now || first != nil && (at[first] != least || least > now) {
				t.Fatalf("at %d popped %v, the least is %d", now, first, least)
			}
			delete(at, first)
		default:
			when := time.Duration(r.IntN(100))
			if when == 99 {
				s.set(p, never)
				delete(at, p)
				continue
			}
			s.set(p, when)
			at[p] = when
		}
		if len(s.heap) != len(at) || len(at) > 0 && s.first() != slices.Min(slices.Collect(func(yield func(time.Duration) bool) {
			for _, a := range at {
				if !yield(a) {
					return
				}
			}
		})) {
			t.Fatalf("the heap has %d, first %v; want %d", len(s.heap), s.first(), len(at))
		}
		for n, p := range s.heap {
			if p.pos != n || !p.planned {
				t.Fatalf("the probe at %d thinks that it is at %d, planned: %v", n, p.pos, p.planned)
			}
		}
	}
}

func TestNextAfter(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name                         string
		due, began, ended, wait, out time.Duration
	}{
		{"in time", 10 * s, 10 * s, 10*s + ms, 5 * s, 15 * s},
		{"a late start does not move the next", 10 * s, 11 * s, 11 * s, 5 * s, 15 * s},
		{"but not too close", 10 * s, 13 * s, 13 * s, 5 * s, 20 * s},
		{"what was missed is not made up for, and the phase stays", 10 * s, 41 * s, 41 * s, 5 * s, 45 * s},
		{"one that takes longer than the interval is followed at once", 10 * s, 10 * s, 17 * s, 5 * s, 17 * s},
	} {
		if got := nextAfter(tt.due, tt.began, tt.ended, tt.wait); got != tt.out {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.out)
		}
	}
}

// Between two starts is at least half the wait, and no more than one and a half, or
// until the end.
func TestNextAfterIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 100_000 {
		due := time.Duration(r.Int64N(int64(time.Hour)))
		began := due + time.Duration(r.ExpFloat64()*float64(time.Second))
		ended := began + time.Duration(r.ExpFloat64()*float64(time.Second))
		wait := leastInterval + time.Duration(r.ExpFloat64()*float64(time.Second))
		next := nextAfter(due, began, ended, wait)
		if next < ended || next-began < wait/2 || next > max(ended, began+wait*3/2) || next != ended && (next-due)%wait != 0 {
			t.Fatalf("due %v, began %v, ended %v, wait %v: next %v", due, began, ended, wait, next)
		}
	}
}

func TestFirstAfterSpreads(t *testing.T) {
	const checks, interval = 10_000, 5 * time.Second
	var slots [50]int
	for n := range checks {
		after := firstAfter(fmt.Sprintf("10.0.%d.%d:80", n/256, n%256), interval, checks)
		if after < 0 || after >= interval {
			t.Fatalf("the first probe comes after %v", after)
		}
		slots[after*50/interval]++
	}
	for n, in := range slots {
		if in < checks/50*3/4 || in > checks/50*5/4 {
			t.Errorf("%d of %d in slot %d of 50", in, checks, n)
		}
	}
	for n := range 10 {
		if after := firstAfter(fmt.Sprint(n), interval, n); after > 110*ms {
			t.Errorf("the first probe of one of 10 comes after %v", after)
		}
	}
	if after := firstAfter("web", 10*ms, 1000); after >= 10*ms {
		t.Errorf("the first probe comes after %v, and the interval is 10ms", after)
	}
}

func TestJittered(t *testing.T) {
	for _, tt := range []struct{ chance, want float64 }{{-1, 0.9}, {0, 1}, {1, 1.1}} {
		if got := jittered(time.Second, 0.1, tt.chance); got != time.Duration(tt.want*float64(time.Second)) {
			t.Errorf("%v: %v", tt.chance, got)
		}
	}
}
