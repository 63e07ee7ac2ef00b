package userspace

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
	"github.com/lvskit/lvskit/ipvs"
)

// kernelTable is the kernel's table in an empty network namespace, at path.
func kernelTable(t testing.TB) (c *ipvs.Client, path string) {
	t.Helper()
	need.Root(t)
	need.IPVS(t)
	need.Module(t, "ip_vs_lblc", "ip_vs_lblcr") // see type ipvs.Scheduler
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
	err = netns.Do(path, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err = ipvs.Open(ipvs.Config{NetNS: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, path
}

// TestDifferenceFromTheKernel asks the kernel and an Engine the same. Each run is
// another sequence: -count 34 makes more than 100,000 operations.
func TestDifferenceFromTheKernel(t *testing.T) {
	c, _ := kernelTable(t)
	e := tableOnly(t)
	timeouts, err := c.Timeouts(context.Background()) // those of the kernel's configuration
	if err == nil {
		err = e.SetTimeouts(context.Background(), timeouts)
	}
	if err != nil {
		t.Fatal(err)
	}
	difference(t, c, e, 3000)
}

// TestTrashIsTheKernels removes a destination that has a connection, and adds it
// again, alone and with its service: the kernel's connection is one through lo.
func TestTrashIsTheKernels(t *testing.T) {
	c, path := kernelTable(t)
	e := tableOnly(t)
	s := ipvs.Service{
		ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("127.0.0.9:80")}, Scheduler: ipvs.RR,
		Destinations: []ipvs.Destination{{Addr: netip.MustParseAddrPort("127.0.0.1:8080"), Forward: ipvs.ForwardMasq, Weight: 1}},
	}
	var server net.Listener
	err := netns.Do(path, func() (err error) {
		server, err = net.Listen("tcp", s.Destinations[0].Addr.String())
		return err
	})
	mustAll(t, err)
	defer server.Close()
	ctx := t.Context()
	mustAll(t, c.AddService(ctx, s), e.AddService(ctx, s))
	err = netns.Do(path, func() error {
		conn, err := net.Dial("tcp", s.ID.Addr.String())
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return err
	})
	mustAll(t, err)
	conn := connectTo(t, e, s.ID)
	conn.Become(ipvs.StateEstablished)
	same := func(when string) {
		t.Helper()
		var status [2]ipvs.DestinationStatus
		for range 40 { // the kernel's counters move every two seconds
			for i, table := range []ipvs.Table{c, e} {
				st, err := table.Service(ctx, s.ID)
				mustAll(t, err)
				st.Destinations[0].Stats = ipvs.Stats{Connections: st.Destinations[0].Stats.Connections}
				status[i] = st.Destinations[0]
			}
			if status[0] == status[1] {
				t.Logf("%s: %+v", when, status[0])
				return
			}
			time.Sleep(250 * time.Millisecond)
		}
		t.Errorf("%s: the kernel has %+v, the Engine %+v", when, status[0], status[1])
	}
	same("connected")
	for _, table := range []ipvs.Table{c, e} {
		mustAll(t, table.RemoveDestination(ctx, s.ID, s.Destinations[0].Addr), table.AddDestination(ctx, s.ID, s.Destinations[0]))
	}
	same("added again")
	for _, table := range []ipvs.Table{c, e} {
		mustAll(t, table.RemoveService(ctx, s.ID), table.AddService(ctx, s))
	}
	same("added again with its service")
}
