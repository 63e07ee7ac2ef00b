package healthprom_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/health/healthprom"
)

// snapshot is a Snapshotter that never changes.
type snapshot map[string]health.Status

func (s snapshot) Snapshot() map[string]health.Status { return s }

var moment = time.Unix(1700000000, 5e8)

var full = snapshot{
	"web1": {
		State: health.Down, Since: moment, Last: moment.Add(time.Second), Err: errors.New("refused"), Duration: 1500 * time.Microsecond,
		Streak: 2, Running: moment.Add(2 * time.Second), Report: health.Report{Expires: moment.Add(time.Hour)},
		Stats: health.Stats{Passed: 1, Failed: 2, Inconclusive: 3, Changes: 4},
	},
	"web2": {},
}

const fullText = `
# HELP lvskit_health_check_certificate_expiry_timestamp_seconds When the first of the certificates that the server showed ends.
# TYPE lvskit_health_check_certificate_expiry_timestamp_seconds gauge
lvskit_health_check_certificate_expiry_timestamp_seconds{check="web1"} 1.7000036005e+09
# HELP lvskit_health_check_contrary_results Results in a row that contradict the state.
# TYPE lvskit_health_check_contrary_results gauge
lvskit_health_check_contrary_results{check="web1"} 2
lvskit_health_check_contrary_results{check="web2"} 0
# HELP lvskit_health_check_duration_seconds How long the last conclusive probe took.
# TYPE lvskit_health_check_duration_seconds gauge
lvskit_health_check_duration_seconds{check="web1"} 0.0015
# HELP lvskit_health_check_last_result_timestamp_seconds When the last conclusive probe ended.
# TYPE lvskit_health_check_last_result_timestamp_seconds gauge
lvskit_health_check_last_result_timestamp_seconds{check="web1"} 1.7000000015e+09
# HELP lvskit_health_check_last_transition_timestamp_seconds When the state of the check began.
# TYPE lvskit_health_check_last_transition_timestamp_seconds gauge
lvskit_health_check_last_transition_timestamp_seconds{check="web1"} 1.7000000005e+09
# HELP lvskit_health_check_probes_total Probes by their result.
# TYPE lvskit_health_check_probes_total counter
lvskit_health_check_probes_total{check="web1",result="failed"} 2
lvskit_health_check_probes_total{check="web1",result="inconclusive"} 3
lvskit_health_check_probes_total{check="web1",result="passed"} 1
lvskit_health_check_probes_total{check="web2",result="failed"} 0
lvskit_health_check_probes_total{check="web2",result="inconclusive"} 0
lvskit_health_check_probes_total{check="web2",result="passed"} 0
# HELP lvskit_health_check_running_since_timestamp_seconds When the probe that is under way began.
# TYPE lvskit_health_check_running_since_timestamp_seconds gauge
lvskit_health_check_running_since_timestamp_seconds{check="web1"} 1.7000000025e+09
# HELP lvskit_health_check_state State of the check: 0 unknown, 1 up, 2 down.
# TYPE lvskit_health_check_state gauge
lvskit_health_check_state{check="web1"} 2
lvskit_health_check_state{check="web2"} 0
# HELP lvskit_health_check_transitions_total Changes of the state.
# TYPE lvskit_health_check_transitions_total counter
lvskit_health_check_transitions_total{check="web1"} 4
lvskit_health_check_transitions_total{check="web2"} 0
`

func TestAStatusAsMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(healthprom.NewCollector(full))
	if err := testutil.GatherAndCompare(registry, strings.NewReader(fullText)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}

func TestAnIDThatIsNoLabelIsAnError(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(healthprom.NewCollector(snapshot{"\xff": {}}))
	if _, err := registry.Gather(); err == nil {
		t.Error("an ID that is not UTF-8 is no error")
	}
}

// TestScrapesWhileChecksComeAndGo scrapes a Monitor that runs.
func TestScrapesWhileChecksComeAndGo(t *testing.T) {
	m, err := health.New(health.Config{})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(healthprom.NewCollector(m))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		probe := health.ProberFunc(func(context.Context) (health.Report, error) { return health.Report{}, nil })
		for i := 0; ctx.Err() == nil; i = (i + 1) % 20 {
			if err := m.Set(strconv.Itoa(i), health.Check{Prober: probe, Interval: 10 * time.Millisecond}); err != nil {
				t.Error(err)
			}
			m.Remove(strconv.Itoa((i + 10) % 20))
		}
	})
	defer running.Wait()
	defer cancel()
	for range 50 {
		if _, err := registry.Gather(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Set("stays", health.Check{
		Interval: 10 * time.Millisecond,
		Prober:   health.ProberFunc(func(context.Context) (health.Report, error) { return health.Report{}, errors.New("no") }),
	}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, s := range f.Metric {
				if f.GetName() == "lvskit_health_check_state" && s.Label[0].GetValue() == "stays" && s.Gauge.GetValue() == 2 {
					return
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("a check that is down is not shown as down")
		}
	}
}

func ExampleNewCollector() {
	monitor, err := health.New(health.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(healthprom.NewCollector(monitor))
	// http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	if err := monitor.Set("web1", health.Check{Prober: health.ProberFunc(func(context.Context) (health.Report, error) {
		return health.Report{}, nil
	})}); err != nil {
		fmt.Println(err)
		return
	}
	families, err := registry.Gather()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range families {
		fmt.Println(f.GetName())
	}
	// Output:
	// lvskit_health_check_contrary_results
	// lvskit_health_check_probes_total
	// lvskit_health_check_state
	// lvskit_health_check_transitions_total
}
