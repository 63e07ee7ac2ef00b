package natprom_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/nat"
	"github.com/lvskit/lvskit/nat/natprom"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// TestTheKernelsCounters has connections rewritten, and rules put back.
func TestTheKernelsCounters(t *testing.T) {
	h := labtest.Host(t, labtest.New(t), "gateway")
	repaired := make(chan error, 1)
	table, err := nat.Open(nat.Config{Name: "gateway", Backend: nat.NFTables, NetNS: h.Path(), OnRepair: func(_ []nat.Change, err error) { repaired <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	var want []nat.Rule
	for _, text := range []string{"dnat web: tcp destination 127.0.0.2:80 to 127.0.0.1:8080", "dnat: tcp destination 127.0.0.3:80 to 127.0.0.1:8080"} {
		want = append(want, status(text, 0, 0).Rule)
	}
	if _, err := table.Apply(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	l, err := h.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		c, err := h.Dial(t.Context(), "tcp", "127.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	got := lines(t, natprom.NewCollector(table))
	for _, want := range []string{
		`rule_packets_total{action="dnat",rule="web",table="gateway"} 3`, `rule_packets_total{action="dnat",rule="",table="gateway"} 0`,
		`rules{action="dnat",table="gateway"} 2`, `backend_info{backend="nftables",table="gateway"} 1`, `repairs_total{table="gateway"} 0`,
	} {
		if !strings.Contains(got, "lvskit_nat_"+want+"\n") {
			t.Errorf("missing %s in\n%s", want, got)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := table.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	other, err := nat.Open(nat.Config{Name: "gateway", Backend: nat.NFTables, NetNS: h.Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-repaired:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the rules are not put back")
	}
	cancel()
	running.Wait()
	if got := lines(t, natprom.NewCollector(table)); !strings.Contains(got, `lvskit_nat_repairs_total{table="gateway"} 1`) || !strings.Contains(got, `rules{action="dnat",table="gateway"} 2`) {
		t.Errorf("after a repair:\n%s", got)
	}
	if err := errors.Join(table.Close(), other.Close()); err != nil {
		t.Error(err)
	}
}
