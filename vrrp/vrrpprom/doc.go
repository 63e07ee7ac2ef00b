// Package vrrpprom shows virtual routers to Prometheus.
//
//	registry.MustRegister(vrrpprom.NewCollector(router))
//
// Every metric has the labels router (its name), interface, vrid and family.
// Times are in seconds, and moments are Unix times.
//
//	lvskit_vrrp_state                              0 initialize, 1 backup, 2 active, 3 fault
//	lvskit_vrrp_fault                              1 for each reason of what is wrong now
//	lvskit_vrrp_last_transition_timestamp_seconds  none before the first
//	lvskit_vrrp_priority                           effective, with the trackers' weights
//	lvskit_vrrp_active_priority                    of the Active router; none if none is heard
//	lvskit_vrrp_advertisement_interval_seconds
//	lvskit_vrrp_addresses_wanted                   all while it is Active, else 0
//	lvskit_vrrp_addresses_held                     all if the Binder holds them, else 0
//	lvskit_vrrp_rivals                             other Active routers it hears while it is Active
//	lvskit_vrrp_peers                              other routers heard lately
//	lvskit_vrrp_became_active_total, became_backup_total, became_fault_total
//	lvskit_vrrp_two_active_total                   other Active routers, as they were noticed
//	lvskit_vrrp_advertisements_sent_total, advertisement_send_errors_total, resignations_sent_total
//	lvskit_vrrp_advertisements_received_total, resignations_received_total, second_path_received_total
//	lvskit_vrrp_pseudo_header_received_total, message_only_received_total
//	lvskit_vrrp_advertisements_dropped_total       by reason
//	lvskit_vrrp_announcements_total, binder_errors_total
//	lvskit_vrrp_late_timers_total                  that came more than half an interval late
//	lvskit_vrrp_timer_lateness_max_seconds         the latest ever
//	lvskit_vrrp_starved_total                      times it gave way for want of processor time
//	lvskit_vrrp_lost_events_total
//
// The numbers of the states are those of the exporters for keepalived. Worth an
// alert: the sum of state == 2 over the machines of a virtual router that is not 1,
// rivals above 0, addresses_wanted other than addresses_held, and drops that grow.
//
// # How it flows
//
// collector.go asks each router for its Status at each scrape, and keeps nothing;
// metrics.go is the list of what it makes of it.
package vrrpprom
