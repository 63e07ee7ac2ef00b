// Package natprom shows the rules of a nat.Table to Prometheus.
//
//	registry.MustRegister(natprom.NewCollector(table))
//
// Every metric has the label table, which is the Table's name:
//
//	lvskit_nat_backend_info           1, with the label backend
//	lvskit_nat_rules                  how many rules are in the kernel, by action
//	lvskit_nat_rule_packets_total     first packets of the connections that were rewritten, by rule and action
//	lvskit_nat_rule_bytes_total       their bytes
//	lvskit_nat_repairs_total          times that Run put back what others had changed
//	lvskit_nat_failed_repairs_total   times that it could not
//	lvskit_nat_forgotten_flows_total  removed from conntrack because a change had made them stale
//
// The label rule is a rule's name. Rules of one name and action are one sum, and so
// are those without a name: their label is empty. Of more than 1000 names in a
// Table only the first 1000, in the order of nat.Table.List, have a sum of their own;
// the others are in that of rules without a name.
//
// A connection is one packet here, since only its first one comes to a rule. Counters
// begin anew when a rule is written anew, and a sum is less when one of its rules
// is removed: Prometheus takes both for a restart.
//
// Worth an alert: repairs that grow, failed ones all the more, and a number of
// rules other than what was wanted.
//
// A scrape takes what nat.Table.List takes: Linux and CAP_NET_ADMIN, and with
// iptables a run of its programs. One that fails is an error of the registry's
// Gather; promhttp.HandlerOpts.ErrorHandling says what becomes of the other metrics then.
//
// # How it flows
//
// collector.go lists the rules at each scrape and adds them up; it keeps nothing.
package natprom
