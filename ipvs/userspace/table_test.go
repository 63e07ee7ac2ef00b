package userspace

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/tabletest"
	"github.com/lvskit/lvskit/ipvs"
)

// tableOnly is an empty table.
func tableOnly(t testing.TB) *Engine {
	t.Helper()
	e, err := Open(Config{TableOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestTableAlone(t *testing.T) {
	tabletest.Run(t, func(t *testing.T) ipvs.Table { return tableOnly(t) })
}

// endsAfter is a context that ends when it has been asked n times.
type endsAfter struct {
	context.Context
	n atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.n.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestApplyEndsWithItsContext cuts an Apply off and looks that what it said it had
// done is what was done.
func TestApplyEndsWithItsContext(t *testing.T) {
	e := tableOnly(t)
	var want []ipvs.Service
	for i := range 100 {
		s := ipvs.Service{Destinations: []ipvs.Destination{trashReal}}
		s.ID = ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 80)}
		want = append(want, s)
	}
	ctx := &endsAfter{Context: t.Context()}
	ctx.n.Store(20)
	made, err := e.Apply(ctx, want, ipvs.Policy{})
	if op, ok := errors.AsType[*ipvs.OpError](err); !errors.Is(err, context.Canceled) || !ok || op.Op != "change table" {
		t.Errorf("%v", err)
	}
	list, err := e.Services(t.Context())
	mustAll(t, err)
	if n := 2 * len(list); n != len(made) || n == 0 || n > 40 {
		t.Errorf("made %d changes, the table has %d things", len(made), n)
	}
}

// TestServicesAreListedInTheirOrder has services come, go and come back.
func TestServicesAreListedInTheirOrder(t *testing.T) {
	e := tableOnly(t)
	id := func(port uint16) ipvs.ServiceID {
		return ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), port)}
	}
	for port := uint16(1); port < 50; port++ {
		mustAll(t, e.AddService(t.Context(), ipvs.Service{ID: id(port)}))
	}
	mustAll(t, e.RemoveService(t.Context(), id(1)), e.AddService(t.Context(), ipvs.Service{ID: id(1)}))
	list, err := e.Services(t.Context())
	mustAll(t, err)
	for i, s := range list {
		if want := id(uint16(i+1)%49 + 1); s.ID != want {
			t.Errorf("%d: %v, want %v", i, s.ID, want)
		}
	}
}

// TestNobodyChangesTheTableDuringApply tries to, between its reading and its
// change.
func TestNobodyChangesTheTableDuringApply(t *testing.T) {
	e := tableOnly(t)
	mustAll(t, e.AddService(t.Context(), trashService))
	other := trashService
	other.ID.Addr = netip.MustParseAddrPort("192.0.2.2:80")
	asked := false
	_, err := e.Apply(t.Context(), nil, ipvs.Policy{Owns: func(ipvs.ServiceID) bool {
		asked = true
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		for _, err := range []error{e.AddService(ctx, other), e.Flush(ctx), e.RemoveService(ctx, trashService.ID)} {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
		return false
	}})
	mustAll(t, err)
	if table := wholeTable(t, e); !asked || len(table) != 1 || table[trashService.ID].ID != trashService.ID {
		t.Errorf("asked %v, the table is %+v", asked, table)
	}
}
