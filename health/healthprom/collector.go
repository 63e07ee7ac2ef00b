package healthprom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lvskit/lvskit/health"
)

// Snapshotter is what is watched: a *health.Monitor.
type Snapshotter interface {
	Snapshot() map[string]health.Status
}

// NewCollector makes a collector of all checks that s has at the time of a
// scrape. It is safe for concurrent use if s is.
func NewCollector(s Snapshotter) prometheus.Collector { return &collector{s} }

type collector struct{ of Snapshotter }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lvskit_health_check_"+name, help, append([]string{"check"}, labels...), nil)
}

var (
	state      = desc("state", "State of the check: 0 unknown, 1 up, 2 down.")
	transition = desc("last_transition_timestamp_seconds", "When the state of the check began.")
	result     = desc("last_result_timestamp_seconds", "When the last conclusive probe ended.")
	duration   = desc("duration_seconds", "How long the last conclusive probe took.")
	contrary   = desc("contrary_results", "Results in a row that contradict the state.")
	running    = desc("running_since_timestamp_seconds", "When the probe that is under way began.")
	expiry     = desc("certificate_expiry_timestamp_seconds", "When the first of the certificates that the server showed ends.")
	probes     = desc("probes_total", "Probes by their result.", "result")
	changes    = desc("transitions_total", "Changes of the state.")
)

// Describe sends what Collect may send.
func (*collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{state, transition, result, duration, contrary, running, expiry, probes, changes} {
		ch <- d
	}
}

// Collect sends the metrics of all checks.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for id, s := range c.of.Snapshot() {
		gauge := func(d *prometheus.Desc, v float64) { send(ch, d, prometheus.GaugeValue, v, id) }
		moment := func(d *prometheus.Desc, at time.Time) {
			if !at.IsZero() {
				gauge(d, float64(at.UnixNano())/1e9)
			}
		}
		gauge(state, float64(s.State))
		moment(transition, s.Since)
		moment(result, s.Last)
		if !s.Last.IsZero() {
			gauge(duration, s.Duration.Seconds())
		}
		gauge(contrary, float64(s.Streak))
		moment(running, s.Running)
		moment(expiry, s.Report.Expires)
		counter(ch, probes, s.Stats.Passed, id, "passed")
		counter(ch, probes, s.Stats.Failed, id, "failed")
		counter(ch, probes, s.Stats.Inconclusive, id, "inconclusive")
		counter(ch, changes, s.Stats.Changes, id)
	}
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	send(ch, d, prometheus.CounterValue, float64(n), labels...)
}

// send sends a metric, or what is wrong with it: an ID need not be UTF-8.
func send(ch chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}
