// Package ipvsprom shows an IPVS table to Prometheus.
//
//	registry.MustRegister(ipvsprom.NewCollector(client))
//
// The names, each with the prefix lvskit_ipvs_:
//
//	connections_total, incoming_packets_total, outgoing_packets_total,
//	incoming_bytes_total, outgoing_bytes_total              of the table since it is there, removed services too
//	service_info                                            1, with the label scheduler
//	service_persistence_timeout_seconds                     0 without persistence
//	service_connections_total, service_incoming_packets_total, ...
//	destination_weight
//	destination_connections_active, destination_connections_inactive
//	destination_persistent_clients                          persistence templates
//	destination_connections_total, destination_incoming_packets_total, ...
//	connection_table_buckets
//	sync_daemon                                             1, with the labels state, interface, sync_id
//
// Metrics of services have the labels proto, local_address, local_port,
// local_mark and family, those of destinations remote_address and remote_port
// besides. A service by firewall mark has the proto FWM, no address, port 0 and its
// mark in decimal; others have no mark.
//
// A destination that drains has weight 0 and connections: the expression is
//
//	lvskit_ipvs_destination_connections_active and lvskit_ipvs_destination_weight == 0
//
// The kernel's counters lag by up to two seconds. Those of a service begin anew
// when it is added anew.
//
// NewNodeCollector has the names and labels of node_exporter's ipvs collector
// instead, for dashboards that exist.
//
// It takes what ipvs.Client takes: Linux and CAP_NET_ADMIN. A scrape that fails
// is an error of the registry's Gather; promhttp.HandlerOpts.ErrorHandling says what
// becomes of the other metrics then.
//
// # How it flows
//
// collector.go reads the table at each scrape; metrics.go is what it makes of it,
// node.go what it makes of it under node_exporter's names.
package ipvsprom
