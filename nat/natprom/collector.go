package natprom

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lvskit/lvskit/nat"
)

// Table is what is watched: a *nat.Table.
type Table interface {
	Name() string
	Backend() nat.Backend
	List(ctx context.Context) ([]nat.RuleStatus, error)
	Stats() nat.Stats
}

const (
	// scrapeTimeout is how long a scrape may read. Prometheus itself gives up after
	// 10 s by default.
	scrapeTimeout = 10 * time.Second
	// namesMost is how many rules of a Table have metrics of their own: a gateway may
	// publish a hundred thousand ports.
	namesMost = 1000
)

// NewCollector makes a collector of tables, which need different names. It is safe
// for concurrent use.
func NewCollector[T Table](tables ...T) prometheus.Collector {
	c := &collector{}
	for _, t := range tables {
		c.tables = append(c.tables, t)
	}
	return c
}

type collector struct{ tables []Table }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lvskit_nat_"+name, help, append([]string{"table"}, labels...), nil)
}

var (
	infoDesc      = desc("backend_info", "What writes the rules into the kernel.", "backend")
	rulesDesc     = desc("rules", "Rules in the kernel, by action.", "action")
	packetsDesc   = desc("rule_packets_total", "First packets of the connections that rules rewrote, by name and action.", "rule", "action")
	bytesDesc     = desc("rule_bytes_total", "Bytes of the first packets of the connections that rules rewrote, by name and action.", "rule", "action")
	repairsDesc   = desc("repairs_total", "Times that rules were put back which others had changed.")
	failedDesc    = desc("failed_repairs_total", "Times that rules could not be put back.")
	forgottenDesc = desc("forgotten_flows_total", "Flows that were removed from conntrack because a change of the rules had made them stale.")
)

// Describe sends what Collect may send.
func (*collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{infoDesc, rulesDesc, packetsDesc, bytesDesc, repairsDesc, failedDesc, forgottenDesc} {
		ch <- d
	}
}

// Collect sends the metrics of all tables as they are.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	for _, t := range c.tables {
		name, s := t.Name(), t.Stats()
		send(ch, infoDesc, prometheus.GaugeValue, 1, name, t.Backend().String())
		send(ch, repairsDesc, prometheus.CounterValue, float64(s.Repairs), name)
		send(ch, failedDesc, prometheus.CounterValue, float64(s.FailedRepairs), name)
		send(ch, forgottenDesc, prometheus.CounterValue, float64(s.ForgottenFlows), name)
		list, err := t.List(ctx)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(rulesDesc, err)
			continue
		}
		rules(ch, name, list)
	}
}

// sum is what rules of one name and action have together.
type sum struct{ packets, bytes uint64 }

type key struct {
	name   string
	action nat.Action
}

func rules(ch chan<- prometheus.Metric, table string, list []nat.RuleStatus) {
	count := map[nat.Action]int{}
	sums := map[key]sum{}
	names := map[string]bool{"": true}
	for i := range list {
		r := &list[i]
		count[r.Action]++
		k := key{r.Name, r.Action}
		if !names[k.name] {
			if len(names) > namesMost {
				k.name = ""
			}
			names[k.name] = true
		}
		s := sums[k]
		sums[k] = sum{s.packets + r.Packets, s.bytes + r.Bytes}
	}
	for a := nat.DNAT; a <= nat.Masquerade; a++ {
		send(ch, rulesDesc, prometheus.GaugeValue, float64(count[a]), table, a.String())
	}
	for k, s := range sums {
		send(ch, packetsDesc, prometheus.CounterValue, float64(s.packets), table, k.name, k.action.String())
		send(ch, bytesDesc, prometheus.CounterValue, float64(s.bytes), table, k.name, k.action.String())
	}
}

func send(ch chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
}
