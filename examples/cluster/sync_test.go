package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

// TestAConnectionSurvivesTheChangeOfDirector moves the virtual address from
// one director to another under an established connection. With the sync
// daemons the second director knows the connection; without them it does not.
func TestAConnectionSurvivesTheChangeOfDirector(t *testing.T) {
	p := compiled(t)
	need.Program(t, "arping")
	for _, sync := range []bool{true, false} {
		t.Run(fmt.Sprintf("sync %v", sync), func(t *testing.T) {
			c := newTestCluster(t, "dr", false)
			second := labtest.Host(t, c.lab, "director2")
			labtest.Connect(t, second, c.lan, "192.168.247.132/24")
			directors := []*lab.Host{c.director, second}
			tables := openTables(t, c, directors)
			if sync {
				startSync(t, tables)
			}
			for i, s := range c.servers {
				labtest.Start(t, s, "ready\n", p.realserver, append(c.serverArgs(i), "-run", t.TempDir())...)
				echo(t, s, netip.AddrPortFrom(c.vip, 80).String())
			}
			vip := c.vip.String() + "/32"
			labtest.Run(t, c.director, "ip", "address", "add", vip, "dev", "eth0")

			conn, err := c.client.Dial(t.Context(), "tcp", netip.AddrPortFrom(c.vip, 80).String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			lines := bufio.NewReader(conn)
			for i := range 10 { // the kernel tells of a connection from its third packet on
				if err := exchange(conn, lines, fmt.Sprintf("before %d", i)); err != nil {
					t.Fatal(err)
				}
			}
			if sync {
				waitSynced(t, tables[1], conn.LocalAddr())
			}

			labtest.Run(t, c.director, "ip", "address", "del", vip, "dev", "eth0")
			labtest.Run(t, second, "ip", "address", "add", vip, "dev", "eth0")
			labtest.Run(t, second, "arping", "-U", "-c", "2", "-w", "3", "-I", "eth0", c.vip.String())
			err = exchange(conn, lines, "after")
			if sync && err != nil {
				t.Errorf("the connection did not survive: %v", err)
			}
			if !sync && err == nil {
				t.Error("the connection survived without the sync daemons: this test shows nothing")
			}
		})
	}
}

// openTables gives each director the service, and returns their tables.
func openTables(t *testing.T, c *cluster, directors []*lab.Host) (tables []*ipvs.Client) {
	t.Helper()
	service := ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.AddrPortFrom(c.vip, 80)}, Scheduler: ipvs.RR}
	for _, real := range c.reals {
		service.Destinations = append(service.Destinations, ipvs.Destination{Addr: netip.AddrPortFrom(real, 80), Weight: 1})
	}
	for _, h := range directors {
		table, err := ipvs.Open(ipvs.Config{NetNS: h.Path()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { table.Close() })
		if _, err := table.Apply(t.Context(), []ipvs.Service{service}, ipvs.Policy{}); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	return tables
}

// startSync makes the first director the master of the other.
func startSync(t *testing.T, tables []*ipvs.Client) {
	t.Helper()
	for i, state := range []ipvs.DaemonState{ipvs.DaemonMaster, ipvs.DaemonBackup} {
		if err := tables[i].StartDaemon(t.Context(), ipvs.Daemon{State: state, Interface: "eth0", SyncID: 7}); err != nil {
			t.Fatal(err)
		}
	}
}

// waitSynced waits until a table has the client's connection from a sync daemon.
func waitSynced(t *testing.T, table *ipvs.Client, client net.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for conn, err := range table.Connections(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if conn.Client.String() == client.String() && conn.Origin == ipvs.OriginSync && conn.State == ipvs.StateEstablished {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal("the second director never heard of the connection")
		case <-tick.C:
		}
	}
}

// echo answers every line on a real server.
func echo(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	ln, err := h.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	h.Go(func(context.Context) error {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return nil // closed with the lab
			}
			h.Go(func(ctx context.Context) error {
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
				return nil
			})
		}
	})
}

// exchange sends a line and reads it back.
func exchange(conn net.Conn, lines *bufio.Reader, line string) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return err
	}
	got, err := lines.ReadString('\n')
	if err == nil && strings.TrimSpace(got) != line {
		err = fmt.Errorf("sent %q, got %q", line, got)
	}
	return err
}
