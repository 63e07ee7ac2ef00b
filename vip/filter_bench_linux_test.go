package vip

import (
	"fmt"
	"testing"
)

// What NoAccept costs a takeover: a Set of one address comes and goes beside
// others, of which as many refuse packets as it says.
func BenchmarkNoAccept(b *testing.B) {
	for _, others := range []int{-1, 0, 1, 200} {
		name := fmt.Sprintf("beside=%d", others)
		if others < 0 {
			name = "accepting"
		}
		b.Run(name, func(b *testing.B) {
			h := newHost(b)
			m := h.manager(Config{})
			defer m.Close()
			var state State
			for i := range others {
				state.Addresses = append(state.Addresses, want(fmt.Sprintf("10.0.1.%d@lo", i+1)).Addresses...)
			}
			state.NoAccept = true
			if _, err := m.Apply(b.Context(), state); err != nil {
				b.Fatal(err)
			}
			one := want("10.0.0.1@eth0")
			one.NoAccept = others >= 0
			s := h.newSet(m, "s", one)
			for b.Loop() {
				h.acquire(s)
				h.let(s)
			}
		})
	}
}
