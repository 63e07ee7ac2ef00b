package ipvsprom

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lvskit/lvskit/ipvs"
)

var (
	serviceLabels     = []string{"proto", "local_address", "local_port", "local_mark", "family"}
	destinationLabels = append(serviceLabels[:len(serviceLabels):len(serviceLabels)], "remote_address", "remote_port")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lvskit_ipvs_"+name, help, labels, nil)
}

// counterDescs are the counters of a Stats, see counters.
func counterDescs(prefix, of string, labels ...string) []*prometheus.Desc {
	return []*prometheus.Desc{
		desc(prefix+"connections_total", "Connections"+of+".", labels...),
		desc(prefix+"incoming_packets_total", "Packets from clients"+of+".", labels...),
		desc(prefix+"outgoing_packets_total", "Packets to clients"+of+" that passed by.", labels...),
		desc(prefix+"incoming_bytes_total", "Bytes from clients"+of+".", labels...),
		desc(prefix+"outgoing_bytes_total", "Bytes to clients"+of+" that passed by.", labels...),
	}
}

var (
	totalDescs       = counterDescs("", " of all services, also of those that were removed")
	serviceDescs     = counterDescs("service_", " of the service", serviceLabels...)
	destinationDescs = counterDescs("destination_", " of the real server", destinationLabels...)

	infoDesc        = desc("service_info", "1 for each service, with its scheduler.", append(serviceLabels[:len(serviceLabels):len(serviceLabels)], "scheduler")...)
	persistenceDesc = desc("service_persistence_timeout_seconds", "How long a client is remembered.", serviceLabels...)
	weightDesc      = desc("destination_weight", "Weight of the real server.", destinationLabels...)
	activeDesc      = desc("destination_connections_active", "Established connections of the real server.", destinationLabels...)
	inactiveDesc    = desc("destination_connections_inactive", "Other connections of the real server.", destinationLabels...)
	persistentDesc  = desc("destination_persistent_clients", "Clients that are remembered to belong to the real server.", destinationLabels...)
	bucketsDesc     = desc("connection_table_buckets", "Buckets of the connection hash table.")
	daemonDesc      = desc("sync_daemon", "1 for each sync daemon that runs.", "state", "interface", "sync_id")
)

// service sends the metrics of a service and its destinations.
func service(ch chan<- prometheus.Metric, s *ipvs.ServiceStatus) {
	labels := []string{proto(s.ID), address(s.ID), port(s.ID), "", s.ID.AddressFamily().String()}
	if s.ID.FWMark != 0 {
		labels[3] = strconv.FormatUint(uint64(s.ID.FWMark), 10)
	}
	with := func(more ...string) []string { return append(labels[:len(labels):len(labels)], more...) }
	gauge(ch, infoDesc, 1, with(string(s.Scheduler))...)
	gauge(ch, persistenceDesc, s.Persistence.Timeout.Seconds(), labels...)
	counters(ch, serviceDescs, s.Stats, labels...)
	for _, d := range s.Destinations {
		labels := with(d.Addr.Addr().String(), strconv.Itoa(int(d.Addr.Port())))
		gauge(ch, weightDesc, float64(d.Weight), labels...)
		gauge(ch, activeDesc, float64(d.Active), labels...)
		gauge(ch, inactiveDesc, float64(d.Inactive), labels...)
		gauge(ch, persistentDesc, float64(d.Persistent), labels...)
		counters(ch, destinationDescs, d.Stats, labels...)
	}
}

func daemons(ch chan<- prometheus.Metric, list []ipvs.Daemon) {
	for _, d := range list {
		gauge(ch, daemonDesc, 1, d.State.String(), d.Interface, strconv.Itoa(d.SyncID))
	}
}

// proto is the first word of a service in /proc/net/ip_vs.
func proto(id ipvs.ServiceID) string {
	if id.FWMark != 0 {
		return "FWM"
	}
	return id.Protocol.String()
}

func address(id ipvs.ServiceID) string {
	if id.FWMark != 0 {
		return ""
	}
	return id.Addr.Addr().String()
}

func port(id ipvs.ServiceID) string { return strconv.Itoa(int(id.Addr.Port())) }

// counters sends a Stats by the list of counterDescs.
func counters(ch chan<- prometheus.Metric, descs []*prometheus.Desc, s ipvs.Stats, labels ...string) {
	for i, n := range []uint64{s.Connections, s.InPackets, s.OutPackets, s.InBytes, s.OutBytes} {
		send(ch, descs[i], prometheus.CounterValue, float64(n), labels...)
	}
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	send(ch, d, prometheus.GaugeValue, v, labels...)
}

// send sends a metric, or what is wrong with it.
func send(ch chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}
