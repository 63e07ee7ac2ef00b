package vrrp

import (
	"math"
	"testing"
	"testing/quick"
)

func TestEffective(t *testing.T) {
	up, down := func(v int) weight { return weight{v, true} }, func(v int) weight { return weight{v, false} }
	for _, c := range []struct {
		name     string
		base     uint8
		trackers []weight
		want     uint8
		fault    bool
	}{
		{"no trackers", 100, nil, 100, false},
		{"above 0 is added while up", 100, []weight{up(20), down(30)}, 120, false},
		{"below 0 is subtracted while down", 100, []weight{up(-20), down(-30)}, 70, false},
		{"weights add up before they are clamped", 100, []weight{up(1000), down(-990)}, 110, false},
		{"clamped to 254", 200, []weight{up(100)}, 254, false},
		{"clamped to 1", 100, []weight{down(-100)}, 1, false},
		{"the largest weights do not overflow", 100, []weight{up(math.MaxInt), up(math.MaxInt), down(math.MinInt), down(math.MinInt)}, 100, false},
		{"weight 0 down is a fault", 100, []weight{up(10), down(0)}, 110, true},
		{"weight 0 up is none", 100, []weight{up(0)}, 100, false},
		{"the owner never changes", 255, []weight{down(-50), down(0)}, 255, true},
	} {
		if got, fault := effective(c.base, c.trackers); got != c.want || fault != c.fault {
			t.Errorf("%s: %d, %v, want %d, %v", c.name, got, fault, c.want, c.fault)
		}
	}
	inRange := func(base uint8, values []int, ups []bool) bool {
		var w []weight
		for i := range min(len(values), len(ups)) {
			w = append(w, weight{values[i], ups[i]})
		}
		got, _ := effective(max(base, 1), w)
		return base == owner && got == owner || base != owner && got >= 1 && got <= 254
	}
	if err := quick.Check(inRange, nil); err != nil {
		t.Error(err)
	}
}
