package ipvsprom_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/procfs"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/ipvsprom"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// director is a host with a table that has seen connections.
func director(t *testing.T) (*lab.Host, *ipvs.Client) {
	t.Helper()
	need.IPVS(t)
	l := labtest.New(t)
	h := labtest.Host(t, l, "director")
	labtest.Connect(t, h, labtest.Switch(t, l, "lan"), "10.51.0.1/24", "10.51.0.100/32", "fd51::100/128")
	c, err := ipvs.Open(ipvs.Config{NetNS: h.Path()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	real := func(addr string, weight int) ipvs.Destination {
		return ipvs.Destination{Addr: netip.MustParseAddrPort(addr), Forward: ipvs.ForwardMasq, Weight: weight}
	}
	byAddr := func(p ipvs.Protocol, addr string) ipvs.ServiceID {
		return ipvs.ServiceID{Protocol: p, Addr: netip.MustParseAddrPort(addr)}
	}
	want := []ipvs.Service{
		{ID: byAddr(ipvs.TCP, "10.51.0.100:80"), Scheduler: ipvs.RR, Destinations: []ipvs.Destination{real("127.0.0.1:8080", 1), real("127.0.0.2:8080", 3)}},
		{ID: byAddr(ipvs.TCP, "[fd51::100]:80"), Scheduler: ipvs.RR, Destinations: []ipvs.Destination{real("[::1]:8080", 2)}},
		{ID: byAddr(ipvs.UDP, "10.51.0.100:53"), Scheduler: ipvs.WLC, Destinations: []ipvs.Destination{real("10.51.0.9:53", 0)}},
		{ID: ipvs.ServiceID{FWMark: 0xbeef}, Destinations: []ipvs.Destination{real("10.51.0.9:0", 5)}},
		{ID: byAddr(ipvs.TCP, "10.51.0.100:81"), Scheduler: ipvs.RR, Destinations: []ipvs.Destination{real("127.0.0.1:8080", 1)}},
	}
	if _, err := c.Apply(t.Context(), want, ipvs.Policy{Owns: ipvs.OwnAll}); err != nil {
		t.Fatal(err)
	}
	ln, err := h.Listen("tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	h.Go(func(context.Context) error { return echo(ln) })
	for _, addr := range []string{"10.51.0.100:80", "10.51.0.100:80", "[fd51::100]:80", "10.51.0.100:81"} {
		talk(t, h, addr)
	}
	// It is in the totals, though it is gone.
	if err := c.RemoveService(t.Context(), want[4].ID); err != nil {
		t.Fatal(err)
	}
	return h, c
}

// echo answers all connections until the listener is closed.
func echo(ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return nil
		}
		go func() {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}()
	}
}

// talk sends and receives on a connection that stays open.
func talk(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
}

// agree compares two readings of a table until they are equal: its counters
// move every two seconds.
func agree(t *testing.T, ours, theirs func() map[string]float64) map[string]float64 {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		got, want := ours(), theirs()
		if maps.Equal(got, want) && want["settled"] > 0 {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("ours   %v\ntheirs %v", got, want)
		}
	}
}

// gather is what the collector shows, by "name key", where key is made of labels.
func gather(t *testing.T, c prometheus.Collector, key func(labels map[string]string) string) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			got[f.GetName()+" "+key(labels(m))] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}

func labels(m *dto.Metric) map[string]string {
	all := map[string]string{}
	for _, l := range m.Label {
		all[l.GetName()] = l.GetValue()
	}
	return all
}

// counted are the counters in the order of ipvsadm's columns.
var counted = []string{"connections", "incoming_packets", "outgoing_packets", "incoming_bytes", "outgoing_bytes"}

// TestKernelAgainstIPVSAdm compares all counters with ipvsadm -Ln --stats --exact.
func TestKernelAgainstIPVSAdm(t *testing.T) {
	need.Program(t, "ipvsadm")
	h, c := director(t)
	got := agree(t, func() map[string]float64 {
		all := gather(t, ipvsprom.NewCollector(c), func(l map[string]string) string {
			key := l["proto"] + " " + net.JoinHostPort(l["local_address"], l["local_port"])
			if l["local_mark"] != "" {
				key = "FWM " + l["local_mark"]
			}
			if l["remote_port"] != "" {
				key += " -> " + net.JoinHostPort(l["remote_address"], l["remote_port"])
			}
			return key
		})
		for name := range all {
			if !strings.Contains(name, "_total ") || strings.HasSuffix(name, " :") {
				delete(all, name) // not in this listing
			}
		}
		all["settled"] = 1
		return all
	}, func() map[string]float64 {
		return ipvsadmStats(labtest.Run(t, h, "ipvsadm", "-Ln", "--stats", "--exact"))
	})
	if len(got) != 5*(4+5)+1 {
		t.Errorf("%d counters, want those of 4 services and 5 destinations: %v", len(got), got)
	}
}

// ipvsadmStats reads a listing of ipvsadm. It is settled when all bytes that were
// sent have been counted.
func ipvsadmStats(listing string) map[string]float64 {
	all, service := map[string]float64{"settled": 1}, ""
	for line := range strings.Lines(listing) {
		words := strings.Fields(line)
		if len(words) != 7 || strings.HasPrefix(words[1], "LocalAddress") {
			continue
		}
		name, key := "service", words[0]+" "+words[1]
		if words[0] == "->" {
			name, key = "destination", service+" -> "+words[1]
		} else {
			service = key
		}
		for i, column := range counted {
			n, err := strconv.ParseFloat(words[i+2], 64)
			if err != nil {
				return nil
			}
			all["lvskit_ipvs_"+name+"_"+column+"_total "+key] = n
		}
		if words[0] == "TCP" && all["lvskit_ipvs_service_outgoing_bytes_total "+key] < 1000 {
			all["settled"] = 0
		}
	}
	return all
}

// TestKernelAgainstNodeExporter compares with what the library underneath
// node_exporter reads, under node_exporter's names.
func TestKernelAgainstNodeExporter(t *testing.T) {
	h, c := director(t)
	key := func(l map[string]string) string {
		if l["proto"] == "" {
			return ""
		}
		return fmt.Sprint(l["proto"], l["local_mark"], " ", l["local_address"], " ", l["local_port"], " ", l["remote_address"], " ", l["remote_port"])
	}
	got := agree(t, func() map[string]float64 {
		all := gather(t, ipvsprom.NewNodeCollector(c), key)
		all["settled"] = 1
		return all
	}, func() map[string]float64 {
		all := map[string]float64{}
		err := h.Do(func() error {
			fs, err := procfs.NewFS("/proc/thread-self")
			if err != nil {
				return err
			}
			total, err := fs.IPVSStats()
			if err != nil {
				return err
			}
			for i, n := range []uint64{total.Connections, total.IncomingPackets, total.OutgoingPackets, total.IncomingBytes, total.OutgoingBytes} {
				all["node_ipvs_"+counted[i]+"_total "] = float64(n)
			}
			if total.Connections == 4 && total.OutgoingBytes > 4000 {
				all["settled"] = 1
			}
			backends, err := fs.IPVSBackendStatus()
			for _, b := range backends {
				local := ""
				if b.LocalAddress != nil {
					local = b.LocalAddress.String()
				}
				key := fmt.Sprint(b.Proto, b.LocalMark, " ", local, " ", b.LocalPort, " ", b.RemoteAddress, " ", b.RemotePort)
				all["node_ipvs_backend_connections_active "+key] = float64(b.ActiveConn)
				all["node_ipvs_backend_connections_inactive "+key] = float64(b.InactConn)
				all["node_ipvs_backend_weight "+key] = float64(b.Weight)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	})
	if len(got) != 5+3*5+1 {
		t.Errorf("%d metrics, want 5 totals and those of 5 destinations: %v", len(got), got)
	}
	info := gather(t, ipvsprom.NewCollector(c), func(map[string]string) string { return "" })
	if info["lvskit_ipvs_connection_table_buckets "] < 256 || info["lvskit_ipvs_connections_total "] != 4 {
		t.Errorf("%v: want the table's size and 4 connections in all", info)
	}
}
