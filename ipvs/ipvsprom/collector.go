package ipvsprom

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lvskit/lvskit/ipvs"
)

// Table is what is watched: an *ipvs.Client, or another ipvs.Table.
type Table interface {
	Services(ctx context.Context) ([]ipvs.ServiceStatus, error)
}

// What a Table may have besides, as *ipvs.Client does.
type (
	totaler interface {
		Totals(ctx context.Context) (ipvs.Stats, error)
	}
	informer interface {
		Info(ctx context.Context) (ipvs.Info, error)
	}
	daemoner interface {
		Daemons(ctx context.Context) ([]ipvs.Daemon, error)
	}
)

// scrapeTimeout is how long a scrape may read. Prometheus itself gives up after
// 10 s by default.
const scrapeTimeout = 10 * time.Second

// NewCollector makes a collector of a table. It is safe for concurrent use if the
// table is.
func NewCollector(t Table) prometheus.Collector { return &collector{t} }

type collector struct{ table Table }

// Describe sends what Collect may send.
func (*collector) Describe(ch chan<- *prometheus.Desc) {
	for _, list := range [][]*prometheus.Desc{totalDescs, serviceDescs, destinationDescs} {
		for _, d := range list {
			ch <- d
		}
	}
	for _, d := range []*prometheus.Desc{infoDesc, persistenceDesc, weightDesc, activeDesc, inactiveDesc, persistentDesc, bucketsDesc, daemonDesc} {
		ch <- d
	}
}

// Collect sends the metrics of the table as it is.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	services, err := c.table.Services(ctx)
	if err != nil {
		// The others would fail for the same reason.
		ch <- prometheus.NewInvalidMetric(infoDesc, err)
		return
	}
	for _, s := range services {
		service(ch, &s)
	}
	if t, ok := c.table.(totaler); ok {
		if s, err := t.Totals(ctx); err != nil {
			ch <- prometheus.NewInvalidMetric(totalDescs[0], err)
		} else {
			counters(ch, totalDescs, s)
		}
	}
	if t, ok := c.table.(informer); ok {
		if info, err := t.Info(ctx); err != nil {
			ch <- prometheus.NewInvalidMetric(bucketsDesc, err)
		} else {
			gauge(ch, bucketsDesc, float64(info.ConnectionTableSize))
		}
	}
	if t, ok := c.table.(daemoner); ok {
		if list, err := t.Daemons(ctx); err != nil {
			ch <- prometheus.NewInvalidMetric(daemonDesc, err)
		} else {
			daemons(ch, list)
		}
	}
}
