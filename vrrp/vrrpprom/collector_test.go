package vrrpprom_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/lvskit/lvskit/vrrp"
	"github.com/lvskit/lvskit/vrrp/vrrpprom"
)

// fixed is a Router that never changes.
type fixed vrrp.Status

func (f fixed) Status() vrrp.Status { return vrrp.Status(f) }

func full() fixed {
	s := vrrp.Status{
		Name: "eth0/51", Interface: "eth0", VRID: 51, Version: vrrp.V3, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")},
		State: vrrp.Active, Reason: vrrp.ReasonTimeout, Since: time.Unix(1700000000, 5e8), Faults: []vrrp.Reason{vrrp.ReasonLink},
		Priority: 120, Interval: 250 * time.Millisecond, Active: netip.MustParseAddr("192.0.2.9"), ActivePriority: 120,
		Rivals: []netip.Addr{netip.MustParseAddr("192.0.2.8")}, Peers: make([]vrrp.Peer, 3),
		Stats: vrrp.Stats{
			Sent: 1, SendErrors: 2, SentZero: 3, Received: 4, ReceivedZero: 5, BySecondPath: 6, WithPseudoHeader: 7, MessageOnly: 8,
			BecameActive: 9, BecameBackup: 10, BecameFault: 11, Announced: 12, BinderErrors: 13, TwoActive: 14,
			LateTimers: 15, Latest: 1500 * time.Microsecond, Starved: 16, LostEvents: 17,
		},
	}
	s.Stats.Dropped[vrrp.DropAuthType] = 18
	return fixed(s)
}

// values are the metrics of a registry, "name{value of label not common}" to value.
func values(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "lvskit_vrrp_")
			for _, l := range m.Label {
				if l.GetName() == "reason" {
					name += "{" + l.GetValue() + "}"
				}
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}

func TestAStatusAsMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(vrrpprom.NewCollector(full()))
	got := values(t, registry)
	for name, want := range map[string]float64{
		"state": 2, "fault{link_down}": 1, "last_transition_timestamp_seconds": 1700000000.5, "priority": 120, "active_priority": 120,
		"advertisement_interval_seconds": 0.25, "addresses_wanted": 2, "addresses_held": 0, "rivals": 1, "peers": 3,
		"advertisements_sent_total": 1, "advertisement_send_errors_total": 2, "resignations_sent_total": 3, "advertisements_received_total": 4,
		"resignations_received_total": 5, "second_path_received_total": 6, "pseudo_header_received_total": 7, "message_only_received_total": 8,
		"became_active_total": 9, "became_backup_total": 10, "became_fault_total": 11, "announcements_total": 12, "binder_errors_total": 13,
		"two_active_total": 14, "late_timers_total": 15, "timer_lateness_max_seconds": 0.0015, "starved_total": 16, "lost_events_total": 17,
		"advertisements_dropped_total{authentication_type}": 18, "advertisements_dropped_total{checksum}": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	if _, ok := got["advertisements_dropped_total{none}"]; ok {
		t.Error("what is accepted counts as dropped")
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}

// The whole text of one metric shows the labels.
func TestLabels(t *testing.T) {
	six := full()
	six.Addresses = []netip.Addr{netip.MustParseAddr("fe80::1")}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(vrrpprom.NewCollector(full(), six))
	const want = `
# HELP lvskit_vrrp_state State of the router: 0 initialize, 1 backup, 2 active, 3 fault.
# TYPE lvskit_vrrp_state gauge
lvskit_vrrp_state{family="IPv4",interface="eth0",router="eth0/51",vrid="51"} 2
lvskit_vrrp_state{family="IPv6",interface="eth0",router="eth0/51",vrid="51"} 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "lvskit_vrrp_state"); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotThereHasNoMetric(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(vrrpprom.NewCollector(fixed{Name: "new"}))
	got := values(t, registry)
	for _, name := range []string{"last_transition_timestamp_seconds", "active_priority"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is %v of a router that has none", name, v)
		}
	}
	if v, ok := got["state"]; !ok || v != 0 {
		t.Errorf("state is %v (%v), want 0", v, ok)
	}
}

func TestRoutersThatCannotBeToldApartAreAnError(t *testing.T) {
	for name, routers := range map[string][]fixed{"equal": {full(), full()}, "not UTF-8": {{Name: "\xff"}}} {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(vrrpprom.NewCollector(routers...))
		if _, err := registry.Gather(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestScrapesWhileARouterChanges scrapes routers that are changed.
func TestScrapesWhileARouterChanges(t *testing.T) {
	cfg := vrrp.Config{Interface: "eth0", VRID: 51, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	router, err := vrrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(vrrpprom.NewCollector(router))
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := range 200 {
			cfg := cfg
			cfg.Priority = uint8(100 + i%50)
			tracker, err := router.Track("x", -20)
			if err == nil {
				tracker.Down()
				err = router.Update(cfg)
			}
			if err != nil {
				t.Error(err)
				return
			}
			tracker.Close()
		}
	})
	for range 50 {
		if v := values(t, registry)["priority"]; v < 80 || v > 150 {
			t.Errorf("priority %v was never set", v)
		}
	}
	changing.Wait()
	if v := values(t, registry)["priority"]; v != 149 {
		t.Errorf("priority is %v at the end, want 149", v)
	}
}

func ExampleNewCollector() {
	router, err := vrrp.New(vrrp.Config{
		Interface: "eth0", VRID: 51, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(vrrpprom.NewCollector(router))
	// http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	fmt.Println(testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP lvskit_vrrp_priority Effective priority, with the weights of trackers.
# TYPE lvskit_vrrp_priority gauge
lvskit_vrrp_priority{family="IPv4",interface="eth0",router="eth0/51",vrid="51"} 100
`), "lvskit_vrrp_priority"))
	// Output: <nil>
}
