package ipvs

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// drainTable is a table of one service, whose connections end as time passes.
type drainTable struct {
	Table // the rest is not called
	id    ServiceID
	state DestinationStatus
	gone  bool
	start time.Time

	each func(t *drainTable, passed time.Duration) // before each reading
	log  []string

	lookErr, updateErr, removeErr error
}

var (
	drainID     = ServiceID{Protocol: TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")}
	drainServer = netip.MustParseAddrPort("10.0.0.1:80")
)

func newDrainTable(each func(*drainTable, time.Duration)) *drainTable {
	return &drainTable{
		id:    drainID,
		state: DestinationStatus{Destination: Destination{Addr: drainServer, Forward: ForwardMasq, Weight: 5, Upper: 9}},
		start: time.Now(),
		each:  each,
	}
}

func (t *drainTable) Service(_ context.Context, id ServiceID) (ServiceStatus, error) {
	if t.each != nil {
		t.each(t, time.Since(t.start))
	}
	if t.lookErr != nil {
		return ServiceStatus{}, t.lookErr
	}
	other := DestinationStatus{Destination: Destination{Addr: netip.MustParseAddrPort("10.0.0.9:80"), Weight: 1}, Active: 99}
	s := ServiceStatus{Service: Service{ID: id}, Destinations: []DestinationStatus{other}}
	if id != t.id {
		return ServiceStatus{}, fs.ErrNotExist
	}
	if !t.gone {
		s.Destinations = append(s.Destinations, t.state)
	}
	return s, nil
}

func (t *drainTable) UpdateDestination(_ context.Context, _ ServiceID, d Destination) error {
	if t.updateErr != nil {
		return t.updateErr
	}
	t.log = append(t.log, Change{Op: UpdateDestination, Service: Service{ID: t.id}, Destination: d}.String())
	t.state.Destination = d
	return nil
}

func (t *drainTable) RemoveDestination(_ context.Context, _ ServiceID, addr netip.AddrPort) error {
	if t.removeErr != nil {
		return t.removeErr
	}
	t.log = append(t.log, "removed "+addr.String()+" after "+time.Since(t.start).String())
	t.gone = true
	return nil
}

const quieted = "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0 -x 9"

func TestDrain(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name string
		each func(*drainTable, time.Duration)
		cfg  DrainConfig
		udp  bool
		log  []string
		want Drained
		err  error
	}{
		{
			name: "idle at two looks in a row",
			log:  []string{quieted, "removed 10.0.0.1:80 after 2s"},
			want: Drained{Removed: true},
		},
		{
			name: "waits for the last connection",
			each: func(t *drainTable, passed time.Duration) { t.state.Active = max(0, 60-int(passed/time.Second)) },
			log:  []string{quieted, "removed 10.0.0.1:80 after 1m1s"},
			want: Drained{Removed: true},
		},
		{
			name: "a connection that was being opened is waited for",
			each: func(t *drainTable, passed time.Duration) {
				t.state.Active, t.state.Inactive = 0, 0
				switch {
				case passed < 1500*time.Millisecond:
					t.state.Inactive = 1
				case passed < 10*time.Second:
					t.state.Active = 1
				}
			},
			log:  []string{quieted, "removed 10.0.0.1:80 after 11s"},
			want: Drained{Removed: true},
		},
		{
			name: "waits for persistence",
			each: func(t *drainTable, passed time.Duration) {
				t.state.Persistent = max(0, 3-int(passed/(100*time.Second)))
			},
			log:  []string{quieted, "removed 10.0.0.1:80 after 5m1s"},
			want: Drained{Removed: true},
		},
		{
			name: "leaves persistence out on request",
			each: func(t *drainTable, _ time.Duration) { t.state.Persistent = 3 },
			cfg:  DrainConfig{Wait: ActiveConnections},
			log:  []string{quieted, "removed 10.0.0.1:80 after 2s"},
			want: Drained{Removed: true, Persistent: 3},
		},
		{
			name: "inactive TCP connections do not count",
			each: func(t *drainTable, _ time.Duration) { t.state.Inactive = 7 },
			log:  []string{quieted, "removed 10.0.0.1:80 after 2s"},
			want: Drained{Removed: true, Inactive: 7},
		},
		{
			name: "inactive TCP connections count on request",
			each: func(t *drainTable, passed time.Duration) {
				t.state.Inactive = max(0, 7-int(passed/(10*time.Second)))
			},
			cfg:  DrainConfig{Wait: InactiveConnections, Interval: 10 * time.Second},
			log:  []string{quieted, "removed 10.0.0.1:80 after 1m20s"},
			want: Drained{Removed: true},
		},
		{
			name: "UDP connections are all inactive, and count",
			each: func(t *drainTable, passed time.Duration) { t.state.Inactive = max(0, 7-int(passed/time.Second)) },
			udp:  true,
			log:  []string{"ipvsadm -e -u 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0 -x 9", "removed 10.0.0.1:80 after 8s"},
			want: Drained{Removed: true},
		},
		{
			name: "the timeout cuts what is left",
			each: func(t *drainTable, _ time.Duration) { t.state.Active, t.state.Inactive, t.state.Persistent = 4, 5, 6 },
			cfg:  DrainConfig{Timeout: 30500 * time.Millisecond},
			log:  []string{quieted, "removed 10.0.0.1:80 after 30.5s"},
			want: Drained{Removed: true, Active: 4, Inactive: 5, Persistent: 6},
		},
		{
			name: "one that is quiet already is not set again",
			each: func(t *drainTable, passed time.Duration) {
				if passed == 0 {
					t.state.Weight = 0
				}
			},
			log:  []string{"removed 10.0.0.1:80 after 2s"},
			want: Drained{Removed: true},
		},
		{
			name: "one that vanishes is drained",
			each: func(t *drainTable, passed time.Duration) {
				t.state.Active = 2
				t.gone = passed > 5*time.Second
			},
			log:  []string{quieted},
			want: Drained{Active: 2},
		},
		{
			name: "a service that vanishes drains it too",
			each: func(t *drainTable, passed time.Duration) {
				t.state.Active = 2
				if passed > 5*time.Second {
					t.lookErr = fs.ErrNotExist
				}
			},
			log:  []string{quieted},
			want: Drained{Active: 2},
		},
		{
			name: "one that vanishes before it is quiet is drained",
			each: func(t *drainTable, _ time.Duration) { t.updateErr = fs.ErrNotExist },
		},
		{
			name: "one that vanishes before it is removed is drained",
			each: func(t *drainTable, _ time.Duration) { t.removeErr = fs.ErrNotExist },
			log:  []string{quieted},
		},
		{
			name: "one that was never there is an error",
			each: func(t *drainTable, _ time.Duration) { t.gone = true },
			err:  fs.ErrNotExist,
		},
		{
			name: "somebody who gives it weight stops the drain",
			each: func(t *drainTable, passed time.Duration) {
				t.state.Active = 1
				if passed > 3*time.Second {
					t.state.Weight = 8
				}
			},
			log:  []string{quieted},
			want: Drained{Active: 1},
			err:  ErrNotDraining,
		},
		{
			name: "weight at the timeout stops it too",
			each: func(t *drainTable, passed time.Duration) {
				t.state.Active = 1
				if passed >= 500*time.Millisecond {
					t.state.Weight = 8
				}
			},
			cfg:  DrainConfig{Timeout: 500 * time.Millisecond},
			log:  []string{quieted},
			want: Drained{Active: 1},
			err:  ErrNotDraining,
		},
		{
			name: "an error of the table ends it",
			each: func(t *drainTable, passed time.Duration) {
				if passed > 3*time.Second {
					t.lookErr = broken
				}
				t.state.Active = 3
			},
			log:  []string{quieted},
			want: Drained{Active: 3},
			err:  broken,
		},
		{
			name: "an error of the removal is passed on",
			each: func(t *drainTable, _ time.Duration) { t.removeErr = fs.ErrPermission },
			log:  []string{quieted},
			err:  fs.ErrPermission,
		},
		{name: "a negative timeout", cfg: DrainConfig{Timeout: -1}, err: fs.ErrInvalid},
		{name: "a negative interval", cfg: DrainConfig{Interval: -1}, err: fs.ErrInvalid},
		{name: "unknown connections", cfg: DrainConfig{Wait: 8}, err: fs.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := newDrainTable(test.each)
				if test.udp {
					table.id.Protocol = UDP
				}
				got, err := Drain(t.Context(), table, table.id, drainServer, test.cfg)
				if !errors.Is(err, test.err) {
					t.Errorf("the error is %v, want %v", err, test.err)
				}
				if got != test.want {
					t.Errorf("drained %+v, want %+v", got, test.want)
				}
				if !slices.Equal(table.log, test.log) {
					t.Errorf("the table saw %q, want %q", table.log, test.log)
				}
			})
		})
	}
}

func TestDrainLeavesWeightZeroWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newDrainTable(func(t *drainTable, _ time.Duration) { t.state.Active = 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		got, err := Drain(ctx, table, drainID, drainServer, DrainConfig{Timeout: time.Hour})
		var op *OpError
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &op) || op.Op != "drain" || op.Object != "TCP 192.0.2.1:80 -> 10.0.0.1:80" {
			t.Errorf("the error is %v", err)
		}
		if got != (Drained{Active: 1}) || table.gone || table.state.Weight != 0 {
			t.Errorf("drained %+v, and the table has %+v", got, table.state.Destination)
		}
		if passed := time.Since(table.start); passed != 90*time.Second {
			t.Errorf("it took %s", passed)
		}
		// A later drain carries on.
		table.each = func(t *drainTable, _ time.Duration) { t.state.Active = 0 }
		if got, err := Drain(t.Context(), table, drainID, drainServer, DrainConfig{}); err != nil || !got.Removed {
			t.Errorf("carried on: %+v, %v", got, err)
		}
	})
}

func TestDrainTakesMappedAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newDrainTable(nil)
		mapped := func(a netip.AddrPort) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
		}
		id := ServiceID{Protocol: TCP, Addr: mapped(drainID.Addr)}
		if got, err := Drain(t.Context(), table, id, mapped(drainServer), DrainConfig{}); err != nil || !got.Removed {
			t.Errorf("drained %+v, %v", got, err)
		}
	})
}
