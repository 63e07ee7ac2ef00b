package vrrpprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lvskit/lvskit/vrrp"
)

// A metric is one number of a router's Status, which may have none.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*vrrp.Status) (float64, bool)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lvskit_vrrp_"+name, help, append([]string{"router", "interface", "vrid", "family"}, labels...), nil)
}

func gauge(name, help string, value func(*vrrp.Status) float64) metric {
	return metric{desc(name, help), prometheus.GaugeValue, func(s *vrrp.Status) (float64, bool) { return value(s), true }}
}

func counter(name, help string, value func(*vrrp.Stats) uint64) metric {
	return metric{desc(name, help), prometheus.CounterValue, func(s *vrrp.Status) (float64, bool) { return float64(value(&s.Stats)), true }}
}

var (
	faultDesc = desc("fault", "1 for what is wrong now.", "reason")
	dropsDesc = desc("advertisements_dropped_total", "Packets that were not accepted, by reason.", "reason")
)

// metrics are all but those with labels of their own.
var metrics = []metric{
	gauge("state", "State of the router: 0 initialize, 1 backup, 2 active, 3 fault.", func(s *vrrp.Status) float64 { return float64(s.State) }),
	{desc("last_transition_timestamp_seconds", "When the state began."), prometheus.GaugeValue, func(s *vrrp.Status) (float64, bool) {
		return float64(s.Since.UnixNano()) / 1e9, !s.Since.IsZero()
	}},
	gauge("priority", "Effective priority, with the weights of trackers.", func(s *vrrp.Status) float64 { return float64(s.Priority) }),
	{desc("active_priority", "Priority of the Active router."), prometheus.GaugeValue, func(s *vrrp.Status) (float64, bool) {
		return float64(s.ActivePriority), s.Active.IsValid()
	}},
	gauge("advertisement_interval_seconds", "Time between advertisements.", func(s *vrrp.Status) float64 { return s.Interval.Seconds() }),
	gauge("addresses_wanted", "Virtual addresses that it should hold now.", func(s *vrrp.Status) float64 { return all(s, s.State == vrrp.Active) }),
	gauge("addresses_held", "Virtual addresses that it holds now.", func(s *vrrp.Status) float64 { return all(s, s.Held) }),
	gauge("rivals", "Other Active routers that it hears while it is Active.", func(s *vrrp.Status) float64 { return float64(len(s.Rivals)) }),
	gauge("peers", "Other routers heard lately.", func(s *vrrp.Status) float64 { return float64(len(s.Peers)) }),
	gauge("timer_lateness_max_seconds", "How late the latest timer came.", func(s *vrrp.Status) float64 { return s.Stats.Latest.Seconds() }),

	counter("became_active_total", "Transitions to Active.", func(s *vrrp.Stats) uint64 { return s.BecameActive }),
	counter("became_backup_total", "Transitions to Backup.", func(s *vrrp.Stats) uint64 { return s.BecameBackup }),
	counter("became_fault_total", "Transitions to Fault.", func(s *vrrp.Stats) uint64 { return s.BecameFault }),
	counter("two_active_total", "Other Active routers that were noticed.", func(s *vrrp.Stats) uint64 { return s.TwoActive }),
	counter("advertisements_sent_total", "Advertisements sent, one for each destination.", func(s *vrrp.Stats) uint64 { return s.Sent }),
	counter("advertisement_send_errors_total", "Advertisements that could not be sent.", func(s *vrrp.Stats) uint64 { return s.SendErrors }),
	counter("resignations_sent_total", "Advertisements of priority 0 sent.", func(s *vrrp.Stats) uint64 { return s.SentZero }),
	counter("advertisements_received_total", "Advertisements accepted.", func(s *vrrp.Stats) uint64 { return s.Received }),
	counter("resignations_received_total", "Advertisements of priority 0 accepted.", func(s *vrrp.Stats) uint64 { return s.ReceivedZero }),
	counter("second_path_received_total", "Advertisements accepted from the second path.", func(s *vrrp.Stats) uint64 { return s.BySecondPath }),
	counter("pseudo_header_received_total", "Advertisements of VRRPv3 over IPv4 whose checksum covers a pseudo-header.", func(s *vrrp.Stats) uint64 { return s.WithPseudoHeader }),
	counter("message_only_received_total", "Advertisements of VRRPv3 over IPv4 whose checksum covers the message only.", func(s *vrrp.Stats) uint64 { return s.MessageOnly }),
	counter("announcements_total", "Announcements of the addresses.", func(s *vrrp.Stats) uint64 { return s.Announced }),
	counter("binder_errors_total", "Calls of the Binder that failed.", func(s *vrrp.Stats) uint64 { return s.BinderErrors }),
	counter("late_timers_total", "Timers that came more than half an interval late.", func(s *vrrp.Stats) uint64 { return s.LateTimers }),
	counter("starved_total", "Times the router gave way for want of processor time.", func(s *vrrp.Stats) uint64 { return s.Starved }),
	counter("lost_events_total", "Events that were merged or dropped because OnEvent was slow.", func(s *vrrp.Stats) uint64 { return s.LostEvents }),
}

// all is the number of virtual addresses, if it is so.
func all(s *vrrp.Status, so bool) float64 {
	if so {
		return float64(len(s.Addresses))
	}
	return 0
}
