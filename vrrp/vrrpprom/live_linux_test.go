package vrrpprom_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/vrrp"
	"github.com/lvskit/lvskit/vrrp/vrrpprom"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// TestTwoMastersAreSeen runs two routers that do not accept each other's list of
// addresses, so that both are Active, and reads the metrics of one.
func TestTwoMastersAreSeen(t *testing.T) {
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var routers []*vrrp.Router
	for name, vip := range map[string]string{"a": "10.0.0.100", "b": "10.0.0.101"} {
		h := labtest.Host(t, l, name)
		labtest.Connect(t, h, lan, map[string]string{"a": "10.0.0.1/24", "b": "10.0.0.2/24"}[name])
		r, err := vrrp.New(vrrp.Config{
			Name: name, NetNS: h.Path(), Interface: "eth0", VRID: 51, Version: vrrp.V2, Addresses: []netip.Addr{netip.MustParseAddr(vip)},
		})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := r.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		routers = append(routers, r)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(vrrpprom.NewCollector(routers[0]))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		got := values(t, registry)
		if got["state"] == 2 && got["rivals"] == 1 && got["two_active_total"] == 1 && got["advertisements_dropped_total{addresses}"] > 0 &&
			got["peers"] == 1 && got["advertisements_sent_total"] > 0 && got["became_active_total"] == 1 &&
			time.Since(time.Unix(int64(got["last_transition_timestamp_seconds"]), 0)) < time.Minute {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("two masters are not seen: %v", got)
		}
	}
}
