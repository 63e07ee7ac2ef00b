package userspace

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// TestDrainWaitsForConnections drains a destination that has connections, as a
// program does whose tests use the table alone.
func TestDrainWaitsForConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := tableOnly(t)
		s := trashService
		s.Destinations = []ipvs.Destination{trashReal}
		mustAll(t, e.AddService(t.Context(), s))
		c := connectTo(t, e, s.ID)
		go func() {
			time.Sleep(time.Hour)
			c.Become(ipvs.StateFinWait) // not active any more
		}()
		start := time.Now()
		done, err := ipvs.Drain(t.Context(), e, s.ID, trashReal.Addr, ipvs.DrainConfig{})
		if err != nil || done != (ipvs.Drained{Removed: true, Inactive: 1}) {
			t.Errorf("%+v, %v", done, err)
		}
		if took := time.Since(start); took < time.Hour || took > time.Hour+3*time.Second {
			t.Errorf("it took %v", took)
		}
		mustAll(t, c.Close())
	})
}

// TestDrainWaitsForPersistence has a client that is remembered for a minute.
func TestDrainWaitsForPersistence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := tableOnly(t)
		s := trashService
		s.Destinations = []ipvs.Destination{trashReal}
		s.Persistence.Timeout = time.Minute
		mustAll(t, e.AddService(t.Context(), s))
		mustAll(t, connectTo(t, e, s.ID).Close())
		start := time.Now()
		done, err := ipvs.Drain(t.Context(), e, s.ID, trashReal.Addr, ipvs.DrainConfig{})
		if err != nil || done != (ipvs.Drained{Removed: true}) {
			t.Errorf("%+v, %v", done, err)
		}
		if took := time.Since(start); took < time.Minute || took > time.Minute+3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestThresholdsOfATable has connections come and go around both thresholds.
func TestThresholdsOfATable(t *testing.T) {
	tests := []struct {
		name         string
		upper, lower uint32
		again        int // connections that are left when new ones may come again
	}{
		{"upper alone stands for three quarters", 8, 0, 5},
		{"three quarters of what is no multiple of four", 6, 0, 4},
		{"lower", 8, 3, 2},
		{"lower as upper", 4, 4, 3},
		{"one connection", 1, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := tableOnly(t)
			s := trashService
			d := trashReal
			d.Upper, d.Lower = tt.upper, tt.lower
			s.Destinations = []ipvs.Destination{d}
			mustAll(t, e.AddService(t.Context(), s))
			var open []*Conn
			for range tt.upper {
				open = append(open, connectTo(t, e, s.ID))
			}
			for len(open) > 0 {
				_, err := e.Connect(s.ID, netip.MustParseAddrPort("198.51.100.1:9"))
				if got, want := err == nil, len(open) <= tt.again; got != want {
					t.Fatalf("with %d connections a new one is taken: %v, want %v", len(open), got, want)
				}
				if err == nil {
					return
				}
				mustAll(t, open[0].Close())
				open = open[1:]
			}
			connectTo(t, e, s.ID)
		})
	}
}
