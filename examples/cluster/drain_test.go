package main

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/ipvs"
)

// TestDrainWaitsForTheConnectionsThatAre drains the real server that has an
// open connection: it stays until the client closes it, or until the timeout.
func TestDrainWaitsForTheConnectionsThatAre(t *testing.T) {
	p := compiled(t)
	c := newTestCluster(t, "dr", false)
	table := openTables(t, c, []*lab.Host{c.director})[0]
	for i, s := range c.servers {
		labtest.Start(t, s, "ready\n", p.realserver, append(c.serverArgs(i), "-run", t.TempDir())...)
		echo(t, s, netip.AddrPortFrom(c.vip, 80).String())
	}
	labtest.Run(t, c.director, "ip", "address", "add", c.vip.String()+"/32", "dev", "eth0")
	conn, err := c.client.Dial(t.Context(), "tcp", netip.AddrPortFrom(c.vip, 80).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	if err := exchange(conn, lines, "before"); err != nil {
		t.Fatal(err)
	}
	id := ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.AddrPortFrom(c.vip, 80)}
	holder := holderOf(t, table, id)

	// Half a second is not enough, a connection is open.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	cfg := ipvs.DrainConfig{Interval: 50 * time.Millisecond}
	if got, err := ipvs.Drain(ctx, table, id, holder, cfg); err == nil || got.Removed || got.Active != 1 {
		t.Fatalf("with an open connection: %+v, %v; want it to wait", got, err)
	}
	for i := range 4 { // new connections go to the other
		other, err := c.client.Dial(t.Context(), "tcp", netip.AddrPortFrom(c.vip, 80).String())
		if err != nil {
			t.Fatal(err)
		}
		if err := exchange(other, bufio.NewReader(other), fmt.Sprintf("other %d", i)); err != nil {
			t.Error(err)
		}
		other.Close()
	}
	if s, err := table.Service(t.Context(), id); err != nil || active(s, holder) != 1 {
		t.Errorf("the drained server has %d connections (%v), want the one it had", active(s, holder), err)
	}
	if err := exchange(conn, lines, "during"); err != nil {
		t.Errorf("the open connection did not last: %v", err)
	}

	// Closed, it lets the next Drain finish.
	conn.Close()
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if got, err := ipvs.Drain(ctx, table, id, holder, cfg); err != nil || !got.Removed || got.Active != 0 {
		t.Errorf("after the connection: %+v, %v; want it removed", got, err)
	}
	s, err := table.Service(t.Context(), id)
	if err != nil || len(s.Destinations) != 1 || s.Destinations[0].Addr == holder {
		t.Errorf("the service has %v (%v), want the other server alone", s.Destinations, err)
	}
}

// holderOf is the real server that has the one open connection.
func holderOf(t *testing.T, table *ipvs.Client, id ipvs.ServiceID) netip.AddrPort {
	t.Helper()
	s, err := table.Service(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range s.Destinations {
		if d.Active == 1 {
			return d.Addr
		}
	}
	t.Fatalf("no real server has an active connection: %+v", s.Destinations)
	return netip.AddrPort{}
}

func active(s ipvs.ServiceStatus, addr netip.AddrPort) int {
	for _, d := range s.Destinations {
		if d.Addr == addr {
			return d.Active
		}
	}
	return -1
}
