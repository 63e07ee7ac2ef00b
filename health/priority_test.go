package health_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/vrrp"
)

func TestPriority(t *testing.T) {
	type terms = []health.Term
	for _, tt := range []struct {
		name  string
		base  int
		terms terms
		want  int
		fault bool
	}{
		{"without conditions it is the base", 100, nil, 100, false},
		{"a positive weight is added while the check is up", 100, terms{{20, health.Up}}, 120, false},
		{"and is nothing while it is down", 100, terms{{20, health.Down}}, 100, false},
		{"a negative weight is taken away while the check is down", 100, terms{{-20, health.Down}}, 80, false},
		{"and is nothing while it is up", 100, terms{{-20, health.Up}}, 100, false},
		{"weight 0 is a fault while the check is down", 100, terms{{0, health.Down}}, 100, true},
		{"and is nothing while it is up", 100, terms{{0, health.Up}}, 100, false},
		{"unknown counts for nothing", 100, terms{{20, health.Unknown}, {-20, health.Unknown}, {0, health.Unknown}}, 100, false},
		{"weights add up", 100, terms{{20, health.Up}, {30, health.Up}, {-5, health.Down}}, 145, false},
		{"the sum is at most 254", 250, terms{{20, health.Up}}, 254, false},
		{"the sum is at least 1", 10, terms{{-20, health.Down}}, 1, false},
		{"only the sum is bounded", 250, terms{{20, health.Up}, {-20, health.Down}}, 250, false},
		{"the owner stays owner", 255, terms{{-20, health.Down}}, 255, false},
		{"and may be faulty", 255, terms{{0, health.Down}}, 255, true},
		{"a base below 1 is 1", 0, nil, 1, false},
		{"a base above 255 is 254", 300, nil, 254, false},
		{"large weights do not overflow", 100, terms{{math.MaxInt, health.Up}, {math.MaxInt, health.Up}}, 254, false},
	} {
		got, fault := health.Priority(tt.base, tt.terms...)
		if got != tt.want || fault != tt.fault {
			t.Errorf("%s: %d, fault %v, want %d, %v", tt.name, got, fault, tt.want, tt.fault)
		}
	}
}

// TestPriorityIsThatOfTrackers compares with what a vrrp.Router makes of trackers
// with the same weights, which the tests of package vrrp compare with keepalived.
func TestPriorityIsThatOfTrackers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		base := 1 + r.IntN(255)
		router, err := vrrp.New(vrrp.Config{
			Interface: "eth0", VRID: 1, Priority: uint8(base), Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		})
		if err != nil {
			t.Fatal(err)
		}
		var terms []health.Term
		for i := range r.IntN(5) {
			term := health.Term{Weight: r.IntN(2*253+1) - 253, State: health.Up + health.State(r.IntN(2))}
			if term.Weight == 0 {
				term.Weight = 1 // a fault is not in the status of a router that does not run
			}
			tracker, err := router.Track(fmt.Sprint(i), term.Weight)
			if err != nil {
				t.Fatal(err)
			}
			if term.State == health.Down {
				tracker.Down()
			}
			terms = append(terms, term)
		}
		got, _ := health.Priority(base, terms...)
		if want := router.Status().Priority; got != int(want) {
			t.Fatalf("base %d, %+v: %d, the router has %d", base, terms, got, want)
		}
	}
}
