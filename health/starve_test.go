package health

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestStarvationAddsUpOnce(t *testing.T) {
	var s starvation
	s.late(0, 4*ms)
	if s.total != 0 {
		t.Errorf("4 ms, which every machine has, are counted: %v", s.total)
	}
	s.late(100*ms, 300*ms) // the watchdog
	s.late(150*ms, 310*ms) // the loop, in the same stop
	if s.total != 210*ms {
		t.Errorf("total is %v, want 210ms", s.total)
	}
	s.late(never, 400*ms)
	if s.total != 210*ms {
		t.Errorf("what was never due is late: %v", s.total)
	}
}

// The longest lateness since any time is that of a plain list.
func TestStarvationRemembersTheWorst(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s starvation
		var all []lateness
		now := time.Duration(0)
		for range r.IntN(100) {
			now += time.Duration(r.IntN(1000)) * ms
			late := time.Duration(r.IntN(500)) * ms
			s.late(now-late, now)
			if late > tolerated {
				all = append(all, lateness{now, late})
			}
		}
		for range 20 {
			since := time.Duration(r.Int64N(int64(now + 1)))
			want := time.Duration(0)
			for _, l := range all {
				if l.at >= since {
					want = max(want, min(l.late, l.at-since))
				}
			}
			if got := s.worst(since).late; got != want {
				t.Fatalf("worst since %v is %v, want %v: %v", since, got, want, all)
			}
		}
	}
}

func TestStarvationRemembersLittle(t *testing.T) {
	var s starvation
	for n := range 10 * latestMost {
		at := time.Duration(n) * time.Hour
		s.late(at-time.Minute+time.Duration(n)*ms, at)
	}
	if len(s.latest) > latestMost || s.worst(-time.Hour).late != time.Minute {
		t.Errorf("%d are remembered, the worst is %v", len(s.latest), s.worst(-time.Hour).late)
	}
}

func TestExcuse(t *testing.T) {
	for _, tt := range []struct {
		name       string
		worst, gap time.Duration
		want       bool
	}{
		{"nobody was late", 0, 0, false},
		{"a little late", 249 * ms, 0, false},
		{"late enough", 250 * ms, 0, true},
		{"the clock is slewed", 0, 100 * ms, false},
		{"the machine slept", 0, time.Hour, true},
		{"the clock was set back", 0, -time.Hour, true},
	} {
		err := excuse(tt.worst, 250*ms, tt.gap, time.Second, errDead)
		if (err != nil) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && (!errors.Is(err, ErrInconclusive) || !errors.Is(err, errDead)) {
			t.Errorf("%s: %v does not tell the cause", tt.name, err)
		}
	}
	if now := time.Now(); parted(now, now.Add(time.Second)) != 0 {
		t.Error("the clocks part by themselves")
	}
}

// A lateness that was seen before is no excuse by the Deadline that it asks for.
func TestAllowed(t *testing.T) {
	for _, tt := range []struct{ worst, timeout, want time.Duration }{
		{0, time.Second, time.Second},
		{200 * ms, time.Second, time.Second},
		{250 * ms, time.Second, 1250 * ms},
		{time.Second, time.Second, 5 * time.Second},
		{time.Hour, time.Second, 10 * time.Second},
		{time.Hour, 10 * time.Second, 40 * time.Second},
	} {
		got := allowed(tt.worst, tt.timeout)
		if got != tt.want {
			t.Errorf("after %v of %v: %v, want %v", tt.worst, tt.timeout, got, tt.want)
		}
		if tt.worst < time.Minute && tt.worst >= got/starvedShare {
			t.Errorf("%v is an excuse for %v", tt.worst, got)
		}
	}
}
