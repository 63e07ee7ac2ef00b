package ipvsprom_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/ipvsprom"
)

// services is a Table that has nothing else.
type services struct {
	mu   sync.Mutex
	list []ipvs.ServiceStatus
	err  error
}

func (s *services) Services(context.Context) ([]ipvs.ServiceStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list, s.err
}

// whole has what *ipvs.Client has.
type whole struct {
	services
	err error // of the rest
}

func (w *whole) Totals(context.Context) (ipvs.Stats, error) {
	return ipvs.Stats{Connections: 101, InPackets: 102, OutPackets: 103, InBytes: 104, OutBytes: 105}, w.err
}

func (w *whole) Info(context.Context) (ipvs.Info, error) {
	return ipvs.Info{ConnectionTableSize: 4096}, w.err
}

func (w *whole) Daemons(context.Context) ([]ipvs.Daemon, error) {
	return []ipvs.Daemon{{State: ipvs.DaemonMaster, Interface: "eth0", SyncID: 7}}, w.err
}

func table() []ipvs.ServiceStatus {
	stats := ipvs.Stats{Connections: 1, InPackets: 2, OutPackets: 3, InBytes: 4, OutBytes: 5}
	mark := func(family ipvs.Family, real string) ipvs.ServiceStatus {
		return ipvs.ServiceStatus{
			Service:      ipvs.Service{ID: ipvs.ServiceID{FWMark: 100, Family: family}, Scheduler: ipvs.WLC},
			Destinations: []ipvs.DestinationStatus{{Destination: ipvs.Destination{Addr: netip.MustParseAddrPort(real), Weight: 2}}},
		}
	}
	return []ipvs.ServiceStatus{
		{
			Service: ipvs.Service{
				ID:        ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")},
				Scheduler: ipvs.RR, Persistence: ipvs.Persistence{Timeout: 5 * time.Minute},
			},
			Stats: stats,
			Destinations: []ipvs.DestinationStatus{{
				Destination: ipvs.Destination{Addr: netip.MustParseAddrPort("10.0.0.1:8080"), Weight: 10},
				Active:      6, Inactive: 7, Persistent: 8, Stats: stats,
			}},
		},
		mark(ipvs.IPv4, "10.0.0.2:0"),
		mark(ipvs.IPv6, "[2001:db8::2]:0"),
	}
}

// lines are all metrics without help and type.
func lines(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text, out strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func TestATableAsMetrics(t *testing.T) {
	w := &whole{services: services{list: table()}}
	got := lines(t, ipvsprom.NewCollector(w))
	const (
		svc  = `{family="IPv4",local_address="192.0.2.1",local_mark="",local_port="80",proto="TCP"`
		mark = `{family="IPv6",local_address="",local_mark="100",local_port="0",proto="FWM"`
		dst  = `,remote_address="10.0.0.1",remote_port="8080"} `
	)
	for _, want := range []string{
		`connections_total 101`, `incoming_packets_total 102`, `outgoing_packets_total 103`, `incoming_bytes_total 104`, `outgoing_bytes_total 105`,
		`service_info` + svc + `,scheduler="rr"} 1`, `service_info` + mark + `,scheduler="wlc"} 1`,
		`service_persistence_timeout_seconds` + svc + `} 300`, `service_persistence_timeout_seconds` + mark + `} 0`,
		`service_connections_total` + svc + `} 1`, `service_incoming_packets_total` + svc + `} 2`, `service_outgoing_packets_total` + svc + `} 3`,
		`service_incoming_bytes_total` + svc + `} 4`, `service_outgoing_bytes_total` + svc + `} 5`,
		`destination_weight` + svc + dst + `10`, `destination_connections_active` + svc + dst + `6`, `destination_connections_inactive` + svc + dst + `7`,
		`destination_persistent_clients` + svc + dst + `8`, `destination_connections_total` + svc + dst + `1`,
		`destination_incoming_packets_total` + svc + dst + `2`, `destination_outgoing_packets_total` + svc + dst + `3`,
		`destination_incoming_bytes_total` + svc + dst + `4`, `destination_outgoing_bytes_total` + svc + dst + `5`,
		`destination_weight` + mark + `,remote_address="2001:db8::2",remote_port="0"} 2`,
		`connection_table_buckets 4096`, `sync_daemon{interface="eth0",state="master",sync_id="7"} 1`,
	} {
		if !strings.Contains(got, "lvskit_ipvs_"+want+"\n") {
			t.Errorf("missing %s in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 5+3*7+3*9+2 {
		t.Errorf("%d metrics, want %d:\n%s", n, 5+3*7+3*9+2, got)
	}
}

// What node_exporter shows of the same table; the two families of a mark are one
// there.
func TestNodeExporterNames(t *testing.T) {
	list := table()
	list[2].Destinations = list[1].Destinations
	const want = `
# HELP node_ipvs_backend_connections_active The current active connections by local and remote address.
# TYPE node_ipvs_backend_connections_active gauge
node_ipvs_backend_connections_active{local_address="",local_mark="00000064",local_port="0",proto="FWM",remote_address="10.0.0.2",remote_port="0"} 0
node_ipvs_backend_connections_active{local_address="192.0.2.1",local_mark="",local_port="80",proto="TCP",remote_address="10.0.0.1",remote_port="8080"} 6
# HELP node_ipvs_backend_connections_inactive The current inactive connections by local and remote address.
# TYPE node_ipvs_backend_connections_inactive gauge
node_ipvs_backend_connections_inactive{local_address="",local_mark="00000064",local_port="0",proto="FWM",remote_address="10.0.0.2",remote_port="0"} 0
node_ipvs_backend_connections_inactive{local_address="192.0.2.1",local_mark="",local_port="80",proto="TCP",remote_address="10.0.0.1",remote_port="8080"} 7
# HELP node_ipvs_backend_weight The current backend weight by local and remote address.
# TYPE node_ipvs_backend_weight gauge
node_ipvs_backend_weight{local_address="",local_mark="00000064",local_port="0",proto="FWM",remote_address="10.0.0.2",remote_port="0"} 4
node_ipvs_backend_weight{local_address="192.0.2.1",local_mark="",local_port="80",proto="TCP",remote_address="10.0.0.1",remote_port="8080"} 10
# HELP node_ipvs_connections_total The total number of connections made.
# TYPE node_ipvs_connections_total counter
node_ipvs_connections_total %[1]d
# HELP node_ipvs_incoming_bytes_total The total amount of incoming data.
# TYPE node_ipvs_incoming_bytes_total counter
node_ipvs_incoming_bytes_total %[4]d
# HELP node_ipvs_incoming_packets_total The total number of incoming packets.
# TYPE node_ipvs_incoming_packets_total counter
node_ipvs_incoming_packets_total %[2]d
# HELP node_ipvs_outgoing_bytes_total The total amount of outgoing data.
# TYPE node_ipvs_outgoing_bytes_total counter
node_ipvs_outgoing_bytes_total %[5]d
# HELP node_ipvs_outgoing_packets_total The total number of outgoing packets.
# TYPE node_ipvs_outgoing_packets_total counter
node_ipvs_outgoing_packets_total %[3]d
`
	for name, tt := range map[string]struct {
		table ipvsprom.Table
		want  string
	}{
		"totals of the table": {&whole{services: services{list: list}}, fmt.Sprintf(want, 101, 102, 103, 104, 105)},
		"sums of services":    {&services{list: list}, fmt.Sprintf(want, 1, 2, 3, 4, 5)},
	} {
		if err := testutil.CollectAndCompare(ipvsprom.NewNodeCollector(tt.table), strings.NewReader(tt.want)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLint(t *testing.T) {
	w := &whole{services: services{list: table()}}
	for _, c := range []prometheus.Collector{ipvsprom.NewCollector(w), ipvsprom.NewNodeCollector(w)} {
		problems, err := testutil.CollectAndLint(c)
		if err != nil || len(problems) > 0 {
			t.Errorf("promlint: %v, %v", problems, err)
		}
	}
}

// A scrape that fails says so, and the next one is well again.
func TestErrorsOfAScrape(t *testing.T) {
	broken := errors.New("the table burns")
	for name, make := range map[string]func(ipvsprom.Table) prometheus.Collector{
		"own names": ipvsprom.NewCollector, "node_exporter's": ipvsprom.NewNodeCollector,
	} {
		for what, w := range map[string]*whole{"services": {services: services{err: broken}}, "the rest": {err: broken}} {
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(make(w))
			if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), broken.Error()) {
				t.Errorf("%s, %s cannot be read: %v, want that the table burns", name, what, err)
			}
			w.err, w.services.err = nil, nil
			if _, err := registry.Gather(); err != nil {
				t.Errorf("%s, afterwards: %v", name, err)
			}
		}
	}
}

func TestBothCanBeRegisteredSideBySide(t *testing.T) {
	w := &whole{services: services{list: table()}}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(ipvsprom.NewCollector(w), ipvsprom.NewNodeCollector(w))
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := range 100 {
			w.mu.Lock()
			w.list = table()[:i%4]
			w.mu.Unlock()
		}
	})
	for range 30 {
		if _, err := registry.Gather(); err != nil {
			t.Error(err)
		}
	}
	changing.Wait()
}

func ExampleNewCollector() {
	client, err := ipvs.Open(ipvs.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(ipvsprom.NewCollector(client))
	// http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
}
