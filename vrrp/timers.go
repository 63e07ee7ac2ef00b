package vrrp

import "time"

// owner is the priority of the router that owns the addresses.
const owner = 255

// skew is Skew_Time: RFC 9568, section 6.1, and RFC 3768, section 6.1, for v2.
// It is exact to the nanosecond and fits for all intervals.
func skew(v Version, priority uint8, interval time.Duration) time.Duration {
	if v == V2 {
		interval = time.Second
	}
	return time.Duration(256-int(priority)) * interval / 256
}

// activeInterval is Active_Adver_Interval.
func (m *machine) activeInterval() time.Duration {
	if m.wait.learned != 0 {
		return m.wait.learned
	}
	return m.cfg.Interval
}

// downAt is when a Backup's timer fires. It is computed anew each time, so that it
// follows changes of the priority and of the configuration.
func (m *machine) downAt() time.Duration {
	interval := m.activeInterval()
	wait := skew(m.cfg.Version, m.priority, interval)
	switch m.wait.timer {
	case afterDown:
		wait += time.Duration(m.cfg.DownCount)*interval + m.cfg.TakeoverDelay
	case afterGrace:
		wait += interval
	case afterNothing:
		wait = 0
	}
	if m.wait.timer != afterNothing {
		wait += m.group.longer(m.wait.since)
	}
	return max(m.wait.since+wait, m.notBefore)
}

// silence is how long another router that advertises every interval must not be
// heard to be believed dead, whatever its version says of skew.
func (m *machine) silence(interval time.Duration) time.Duration {
	if interval <= 0 {
		interval = m.cfg.Interval
	}
	return time.Duration(m.cfg.DownCount)*interval + skew(m.cfg.Version, m.priority, interval)
}

// starved says that nothing was sent for longer than the quickest of the others
// waits.
func (m *machine) starved(now time.Duration) bool {
	quickest := m.highest
	if quickest == 0 {
		quickest = 254
	}
	limit := time.Duration(m.cfg.DownCount)*m.cfg.Interval + skew(m.cfg.Version, quickest, m.cfg.Interval)
	return now-m.reign.sent > limit
}
