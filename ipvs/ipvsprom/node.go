package ipvsprom

import (
	"context"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lvskit/lvskit/ipvs"
)

// NewNodeCollector makes a collector with the metrics of node_exporter's ipvs
// collector and no others: node_ipvs_connections_total and its like, and
// node_ipvs_backend_{connections_active,connections_inactive,weight} with its
// labels, the mark in hexadecimal. As there, services of one mark in both families
// are one. Services of SCTP, which node_exporter takes for a part of the service
// before, have the proto SCTP. A Table without Totals has the sums of its services
// instead.
//
// Do not let one Prometheus scrape both from one machine under one job.
func NewNodeCollector(t Table) prometheus.Collector { return &nodeCollector{t} }

type nodeCollector struct{ table Table }

var (
	nodeTotals = []*prometheus.Desc{
		prometheus.NewDesc("node_ipvs_connections_total", "The total number of connections made.", nil, nil),
		prometheus.NewDesc("node_ipvs_incoming_packets_total", "The total number of incoming packets.", nil, nil),
		prometheus.NewDesc("node_ipvs_outgoing_packets_total", "The total number of outgoing packets.", nil, nil),
		prometheus.NewDesc("node_ipvs_incoming_bytes_total", "The total amount of incoming data.", nil, nil),
		prometheus.NewDesc("node_ipvs_outgoing_bytes_total", "The total amount of outgoing data.", nil, nil),
	}
	nodeActive   = nodeBackend("connections_active", "The current active connections by local and remote address.")
	nodeInactive = nodeBackend("connections_inactive", "The current inactive connections by local and remote address.")
	nodeWeight   = nodeBackend("weight", "The current backend weight by local and remote address.")
)

func nodeBackend(name, help string) *prometheus.Desc {
	labels := []string{"local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark"}
	return prometheus.NewDesc("node_ipvs_backend_"+name, help, labels, nil)
}

// Describe sends what Collect may send.
func (*nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range nodeTotals {
		ch <- d
	}
	ch <- nodeActive
	ch <- nodeInactive
	ch <- nodeWeight
}

// backend is a destination as node_exporter tells them apart.
type backend struct{ localAddress, localPort, remoteAddress, remotePort, proto, localMark string }

// load is what is summed up of it.
type load struct{ active, inactive, weight int }

// Collect sends the metrics of the table as it is.
func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	services, err := c.table.Services(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(nodeWeight, err)
		return
	}
	totals, err := c.totals(ctx, services)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(nodeTotals[0], err)
	} else {
		counters(ch, nodeTotals, totals)
	}
	for b, l := range backends(services) {
		labels := []string{b.localAddress, b.localPort, b.remoteAddress, b.remotePort, b.proto, b.localMark}
		gauge(ch, nodeActive, float64(l.active), labels...)
		gauge(ch, nodeInactive, float64(l.inactive), labels...)
		gauge(ch, nodeWeight, float64(l.weight), labels...)
	}
}

func (c *nodeCollector) totals(ctx context.Context, services []ipvs.ServiceStatus) (sum ipvs.Stats, err error) {
	if t, ok := c.table.(totaler); ok {
		return t.Totals(ctx)
	}
	for _, s := range services {
		sum.Connections += s.Stats.Connections
		sum.InPackets += s.Stats.InPackets
		sum.OutPackets += s.Stats.OutPackets
		sum.InBytes += s.Stats.InBytes
		sum.OutBytes += s.Stats.OutBytes
	}
	return sum, nil
}

func backends(services []ipvs.ServiceStatus) map[backend]load {
	sums := map[backend]load{}
	for _, s := range services {
		b := backend{localAddress: address(s.ID), localPort: port(s.ID), proto: proto(s.ID)}
		if s.ID.FWMark != 0 {
			b.localMark = fmt.Sprintf("%08X", s.ID.FWMark)
		}
		for _, d := range s.Destinations {
			b.remoteAddress, b.remotePort = d.Addr.Addr().String(), strconv.Itoa(int(d.Addr.Port()))
			sum := sums[b]
			sum.active += d.Active
			sum.inactive += d.Inactive
			sum.weight += d.Weight
			sums[b] = sum
		}
	}
	return sums
}
