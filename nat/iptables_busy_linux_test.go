package nat

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/need"
)

// Others change their rules all the time, and nobody loses any.
func TestIPTablesBesideABusyWriter(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		restore(t, h, b, others)
		before := saved(t, h, b)
		table := tableOn(t, h, b)
		ctx, cancel := context.WithCancel(t.Context())
		var busy sync.WaitGroup
		for i := range 2 {
			busy.Go(func() {
				rule := []string{"-t", "nat", "-w", "-A", "DOCKER", "-p", "udp", "-m", "udp", "--dport", strconv.Itoa(i + 1), "-j", "ACCEPT"}
				for ctx.Err() == nil {
					rule[3] = "-A"
					if _, err := h.Run(t.Context(), b.String(), rule...); err != nil {
						t.Error(err)
					}
					rule[3] = "-D"
					if _, err := h.Run(t.Context(), b.String(), rule...); err != nil {
						t.Error(err)
					}
				}
			})
		}
		rounds := 12
		if need.Emulated() {
			rounds = 2
		}
		for i := range rounds {
			_, err := table.Apply(t.Context(), rules(t, ofEveryKind[i:]...))
			must(t, err)
		}
		must(t, table.Clear(t.Context()))
		cancel()
		busy.Wait()
		if left := saved(t, h, b); left != before {
			t.Errorf("left:\n%s\nwas:\n%s", left, before)
		}
	})
}
