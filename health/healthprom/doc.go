// Package healthprom shows the checks of a health.Monitor to Prometheus.
//
//	registry.MustRegister(healthprom.NewCollector(monitor))
//
// Every metric has the label check, the ID of the check. Times are in seconds, and
// moments are Unix times.
//
//	lvskit_health_check_state                                 0 unknown, 1 up, 2 down
//	lvskit_health_check_last_transition_timestamp_seconds     when that began; none if it never changed
//	lvskit_health_check_last_result_timestamp_seconds         last conclusive probe; none before the first
//	lvskit_health_check_duration_seconds                      how long it took
//	lvskit_health_check_contrary_results                      in a row that contradict the state
//	lvskit_health_check_running_since_timestamp_seconds       a probe is under way; none if not
//	lvskit_health_check_certificate_expiry_timestamp_seconds  of the last probe by TLS
//	lvskit_health_check_probes_total                          by result: passed, failed, inconclusive
//	lvskit_health_check_transitions_total
//
// A check that hangs is time() - running_since far above its timeout; one that
// nobody probes any more is time() - last_result; inconclusive results that grow
// say that this machine is in trouble, not what it checks.
//
// # How it flows
//
// collector.go asks for a snapshot at each scrape, and keeps nothing.
package healthprom
