package vrrpprom

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lvskit/lvskit/vrrp"
)

// Router is what is watched: a *vrrp.Router.
type Router interface {
	Status() vrrp.Status
}

// NewCollector makes a collector of virtual routers, which need different names,
// interfaces, VRIDs or families. It is safe for concurrent use.
func NewCollector[R Router](routers ...R) prometheus.Collector {
	c := &collector{}
	for _, r := range routers {
		c.routers = append(c.routers, r)
	}
	return c
}

type collector struct{ routers []Router }

// Describe sends what Collect may send.
func (*collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
	ch <- faultDesc
	ch <- dropsDesc
}

// Collect sends the metrics of all routers.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, r := range c.routers {
		s := r.Status()
		labels := []string{s.Name, s.Interface, strconv.Itoa(int(s.VRID)), family(&s)}
		for _, m := range metrics {
			if v, ok := m.value(&s); ok {
				send(ch, m.desc, m.kind, v, labels...)
			}
		}
		for _, reason := range s.Faults {
			send(ch, faultDesc, prometheus.GaugeValue, 1, append(labels, word(reason.String()))...)
		}
		for reason, n := range s.Stats.Dropped {
			if d := vrrp.Drop(reason); d != vrrp.DropNone {
				send(ch, dropsDesc, prometheus.CounterValue, float64(n), append(labels, word(d.String()))...)
			}
		}
	}
}

func family(s *vrrp.Status) string {
	if len(s.Addresses) > 0 && s.Addresses[0].Is6() {
		return "IPv6"
	}
	return "IPv4"
}

// word is the text as a label's value.
func word(text string) string { return strings.ReplaceAll(text, " ", "_") }

// send sends a metric, or what is wrong with it: a name need not be UTF-8.
func send(ch chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}
