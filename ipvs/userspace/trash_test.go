package userspace

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

var (
	trashService = ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")}, Scheduler: ipvs.RR}
	trashReal    = ipvs.Destination{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 1}
	someClient   = netip.MustParseAddrPort("198.51.100.1:1024")
)

// connectTo schedules a connection, which has to succeed.
func connectTo(t *testing.T, e *Engine, id ipvs.ServiceID) *Conn {
	t.Helper()
	c, err := e.Connect(id, someClient)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// theDestination is the only one of the service.
func theDestination(t *testing.T, e *Engine) ipvs.DestinationStatus {
	t.Helper()
	st, err := e.Service(t.Context(), trashService.ID)
	if err != nil || len(st.Destinations) != 1 {
		t.Fatalf("%+v, %v", st, err)
	}
	return st.Destinations[0]
}

func mustAll(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestADestinationThatComesBack(t *testing.T) {
	id := trashService.ID
	tests := []struct {
		name        string
		service     bool          // the whole service goes and comes back
		ended       time.Duration // after which the connection ends; 0: it goes on
		away        time.Duration
		active      int
		connections uint64
	}{
		{name: "at once", active: 1, connections: 1},
		{name: "an hour later, with its connection", away: time.Hour, active: 1, connections: 1},
		{name: "soon after its connection ended", ended: time.Hour, away: time.Hour + trashPeriod - 1, connections: 1},
		{name: "long after its connection ended", ended: time.Hour, away: time.Hour + trashPeriod},
		{name: "with its service", service: true, active: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := tableOnly(t)
				ctx := t.Context()
				mustAll(t, e.AddService(ctx, trashService), e.AddDestination(ctx, id, trashReal))
				c := connectTo(t, e, id)
				if tt.service {
					mustAll(t, e.RemoveService(ctx, id), e.AddService(ctx, trashService))
				} else {
					mustAll(t, e.RemoveDestination(ctx, id, trashReal.Addr))
				}
				other := trashReal
				other.Addr = netip.MustParseAddrPort("10.0.0.2:80")
				mustAll(t, e.AddDestination(ctx, id, other))
				time.Sleep(tt.ended)
				if tt.ended > 0 {
					c.Close()
				}
				time.Sleep(max(tt.away-tt.ended-time.Second, 0))
				mustAll(t, e.RemoveDestination(ctx, id, other.Addr)) // the trash is swept, and not so soon again
				time.Sleep(min(tt.away-tt.ended, time.Second))
				mustAll(t, e.AddDestination(ctx, id, trashReal))
				got := theDestination(t, e)
				if got.Active != tt.active || got.Inactive != 0 || got.Stats.Connections != tt.connections {
					t.Errorf("%+v", got)
				}
				if n := len(e.trash); n != 1 { // the other one
					t.Errorf("the trash has %d destinations", n)
				}
				c.Close()
				if got := theDestination(t, e); got.Active != 0 || got.Inactive != 0 {
					t.Errorf("after the end of the connection: %+v", got)
				}
			})
		})
	}
}

func TestTheTrashIsSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := tableOnly(t)
		ctx := t.Context()
		mustAll(t, e.AddService(ctx, trashService))
		d := trashReal
		for i := range 100 {
			d.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 80)
			mustAll(t, e.AddDestination(ctx, trashService.ID, d), e.RemoveDestination(ctx, trashService.ID, d.Addr))
			time.Sleep(10 * time.Second)
		}
		if n := len(e.trash); n > 30 { // of the last two periods
			t.Errorf("the trash has %d destinations", n)
		}
	})
}
