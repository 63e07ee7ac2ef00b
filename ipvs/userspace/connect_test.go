package userspace

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

func TestConnect(t *testing.T) {
	e := tableOnly(t)
	ctx := t.Context()
	id := trashService.ID
	_, err := e.Connect(id, someClient)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("to no service: %v", err)
	}
	mustAll(t, e.AddService(ctx, trashService))
	if _, err := e.Connect(id, someClient); !errors.Is(err, ErrNoDestination) {
		t.Errorf("to a service without destinations: %v", err)
	}
	mustAll(t, e.AddDestination(ctx, id, trashReal))
	for _, client := range []netip.AddrPort{{}, netip.MustParseAddrPort("[2001:db8::1]:1")} {
		if _, err := e.Connect(id, client); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("from %v: %v", client, err)
		}
	}
	c, err := e.Connect(ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("[::ffff:192.0.2.1]:80")}, someClient)
	if err != nil || c.Destination() != trashReal.Addr {
		t.Fatalf("%v, %v", c, err)
	}
	quiet := trashReal
	quiet.Weight = 0
	mustAll(t, e.UpdateDestination(ctx, id, quiet))
	if _, err := e.Connect(id, someClient); !errors.Is(err, ErrNoDestination) {
		t.Errorf("to a destination of weight 0: %v", err)
	}
	mustAll(t, e.Close())
	if _, err := e.Connect(id, someClient); !errors.Is(err, net.ErrClosed) {
		t.Errorf("to a closed table: %v", err)
	}
	mustAll(t, c.Close())
}

// TestStatesAreCounted has the kernel's rule of what is active.
func TestStatesAreCounted(t *testing.T) {
	tests := []struct {
		protocol ipvs.Protocol
		active   []ipvs.ConnectionState
		inactive []ipvs.ConnectionState
	}{
		{
			ipvs.TCP,
			[]ipvs.ConnectionState{"", ipvs.StateEstablished, ipvs.StateSynSent, ipvs.StateSynRecv, ipvs.StateSynAck},
			[]ipvs.ConnectionState{
				ipvs.StateNone, ipvs.StateFinWait, ipvs.StateTimeWait, ipvs.StateClose, ipvs.StateCloseWait, ipvs.StateLastAck, ipvs.StateListen,
			},
		},
		{ipvs.UDP, nil, []ipvs.ConnectionState{"", ipvs.StateUDP}},
		{ipvs.SCTP, []ipvs.ConnectionState{ipvs.StateEstablished}, []ipvs.ConnectionState{"", "INIT1", "SHUTDOWN_SENT"}},
	}
	for _, tt := range tests {
		e := tableOnly(t)
		s := trashService
		s.ID.Protocol = tt.protocol
		s.Destinations = []ipvs.Destination{trashReal}
		mustAll(t, e.AddService(t.Context(), s))
		for i, states := range [][]ipvs.ConnectionState{tt.active, tt.inactive} {
			for _, state := range states {
				c := connectTo(t, e, s.ID)
				if state != "" { // that in which it begins
					c.Become(state)
				}
				st, err := e.Service(t.Context(), s.ID)
				mustAll(t, err)
				if d := st.Destinations[0]; d.Active != 1-i || d.Inactive != i {
					t.Errorf("%s %q: %d active, %d inactive", tt.protocol, state, d.Active, d.Inactive)
				}
				mustAll(t, c.Close(), c.Close())
				c.Become(ipvs.StateEstablished)
				st, err = e.Service(t.Context(), s.ID)
				mustAll(t, err)
				if d := st.Destinations[0]; d.Active != 0 || d.Inactive != 0 {
					t.Errorf("%s %q, closed: %d active, %d inactive", tt.protocol, state, d.Active, d.Inactive)
				}
			}
		}
	}
}

func TestStatisticsOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := tableOnly(t)
		ctx := t.Context()
		s := trashService
		s.Destinations = []ipvs.Destination{trashReal}
		mustAll(t, e.AddService(ctx, s))
		for range 40 { // ten a second
			connectTo(t, e, s.ID)
			time.Sleep(100 * time.Millisecond)
		}
		st, err := e.Service(ctx, s.ID)
		mustAll(t, err)
		if d := st.Destinations[0]; d.Active != 40 || d.Stats.Connections != 40 || st.Stats.Connections != 40 ||
			d.Stats.ConnectionRate != 4 || st.Stats.ConnectionRate != 4 { // 10 - 10*(3/4)^2
			t.Errorf("%+v", st)
		}
		mustAll(t, e.Zero(ctx, s.ID))
		st, err = e.Service(ctx, s.ID)
		mustAll(t, err)
		if d := st.Destinations[0]; d.Active != 40 || d.Stats != (ipvs.Stats{}) || st.Stats != (ipvs.Stats{}) {
			t.Errorf("after Zero: %+v", st)
		}
	})
}

// listOf reads the connection table.
func listOf(t *testing.T, e *Engine) []ipvs.Connection {
	t.Helper()
	var list []ipvs.Connection
	for c, err := range e.Connections(context.Background()) {
		mustAll(t, err)
		list = append(list, c)
	}
	return list
}

func TestConnectionsAreListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := tableOnly(t)
		ctx := t.Context()
		s := trashService
		s.Destinations = []ipvs.Destination{trashReal}
		s.Persistence = ipvs.Persistence{Timeout: time.Minute, Mask: 24}
		mustAll(t, e.AddService(ctx, s))
		dns := ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort("[2001:db8::1]:53")}
		real6 := ipvs.Destination{Addr: netip.MustParseAddrPort("[fd00::1]:53"), Weight: 1}
		mustAll(t, e.AddService(ctx, ipvs.Service{ID: dns, Destinations: []ipvs.Destination{real6}}))
		first := connectTo(t, e, s.ID)
		first.Become(ipvs.StateEstablished)
		client6 := netip.MustParseAddrPort("[2001:db8::9]:999")
		_, err := e.Connect(dns, client6)
		mustAll(t, err)
		time.Sleep(10500 * time.Millisecond)
		second := connectTo(t, e, s.ID)

		template := ipvs.Connection{
			Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("198.51.100.0:0"), Virtual: s.ID.Addr, Destination: trashReal.Addr,
			State: ipvs.StateAssured, Expires: time.Minute, Origin: ipvs.OriginLocal,
		}
		opening := template
		opening.Client, opening.State, opening.Expires = someClient, ipvs.StateSynRecv, 2*time.Minute
		established := opening
		established.State, established.Expires = ipvs.StateEstablished, 15*time.Minute-11*time.Second
		query := ipvs.Connection{
			Protocol: ipvs.UDP, Client: client6, Virtual: dns.Addr, Destination: real6.Addr,
			State: ipvs.StateUDP, Expires: 5*time.Minute - 11*time.Second, Origin: ipvs.OriginLocal,
		}
		if got, want := listOf(t, e), []ipvs.Connection{template, opening, established, query}; !slices.Equal(got, want) {
			t.Errorf("got\n%+v\nwant\n%+v", got, want)
		}

		mustAll(t, e.RemoveDestination(ctx, s.ID, trashReal.Addr), second.Close())
		if got, want := listOf(t, e), []ipvs.Connection{query, established}; !slices.Equal(got, want) {
			t.Errorf("after the removal of the destination\n%+v\nwant\n%+v", got, want)
		}
		mustAll(t, first.Close(), e.RemoveService(ctx, dns))
		if got, want := listOf(t, e), []ipvs.Connection{query}; !slices.Equal(got, want) {
			t.Errorf("after the removal of the service\n%+v\nwant\n%+v", got, want)
		}
	})
}

func TestListingEndsWithItsContext(t *testing.T) {
	e := tableOnly(t)
	s := trashService
	s.Destinations = []ipvs.Destination{trashReal}
	mustAll(t, e.AddService(t.Context(), s))
	for range 10 {
		connectTo(t, e, s.ID)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err := range e.Connections(ctx) {
		if n++; n < 3 {
			mustAll(t, err)
			continue
		}
		if n == 3 {
			cancel()
			continue
		}
		if !errors.Is(err, context.Canceled) || n > 4 {
			t.Errorf("%d: %v", n, err)
		}
	}
	if n != 4 {
		t.Errorf("the sequence has %d elements, want three connections and an error", n)
	}
	for range e.Connections(t.Context()) {
		break // who has enough may stop
	}
	// While it is read the table can be changed.
	for _, err := range e.Connections(t.Context()) {
		mustAll(t, err)
		e.RemoveDestination(t.Context(), s.ID, trashReal.Addr)
	}
}

// TestListedOnceWhateverComesBack has a destination come back with its connection
// while the table is read: before or after its service's turn.
func TestListedOnceWhateverComesBack(t *testing.T) {
	for _, late := range []bool{false, true} {
		e := tableOnly(t)
		ctx := t.Context()
		other := trashService
		other.ID.Addr = netip.MustParseAddrPort("192.0.2.2:80")
		other.Destinations = []ipvs.Destination{trashReal}
		list := []ipvs.Service{trashService, other}
		if late {
			slices.Reverse(list)
		}
		mustAll(t, e.AddService(ctx, list[1]), e.AddService(ctx, list[0]))
		mustAll(t, e.AddDestination(ctx, trashService.ID, trashReal))
		connectTo(t, e, trashService.ID)
		connectTo(t, e, other.ID)
		mustAll(t, e.RemoveDestination(ctx, trashService.ID, trashReal.Addr))
		n := map[netip.AddrPort]int{}
		for c, err := range e.Connections(ctx) {
			mustAll(t, err)
			if n[c.Virtual]++; len(n) == 1 && c.Virtual == other.ID.Addr {
				mustAll(t, e.AddDestination(ctx, trashService.ID, trashReal))
			}
		}
		if n[trashService.ID.Addr] != 1 || n[other.ID.Addr] != 1 {
			t.Errorf("late %v: %v", late, n)
		}
	}
}
