package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// The addresses of the cluster, all on one network.
var (
	virtual  = netip.MustParseAddr("192.168.247.188")
	clientIP = netip.MustParseAddr("192.168.247.134")
)

const (
	bits = 24
	port = 80
	vrid = 51
)

// A machine is a host of the cluster with a role.
type machine struct {
	name     string
	addr     netip.Addr
	priority int // of a director
}

// The first director is the preferred one: it is Active whenever it lives.
var (
	directors = []machine{
		{"director1", netip.MustParseAddr("192.168.247.131"), 100},
		{"director2", netip.MustParseAddr("192.168.247.132"), 90},
	}
	webs = []machine{
		{"web1", netip.MustParseAddr("192.168.247.135"), 0},
		{"web2", netip.MustParseAddr("192.168.247.136"), 0},
		{"web3", netip.MustParseAddr("192.168.247.137"), 0},
	}
)

// watching is how the directors check a real server. Two probes must fail, so
// that one lost packet takes no server away.
var watching = check{
	Kind: "http", Path: "/",
	Interval: duration(500 * time.Millisecond), Timeout: duration(500 * time.Millisecond), Retry: duration(250 * time.Millisecond),
	Rise: 1, Fall: 2,
}

// jitter is the share of an interval by which a check varies it by default.
const jitter = 0.1

// promise is how long a server may be dead at most until it is down: it dies
// just after a probe, and every probe then takes its whole timeout.
func (c check) promise() time.Duration {
	longest := func(interval duration) time.Duration {
		return time.Duration(float64(interval) * (1 + jitter))
	}
	gap := max(longest(c.Retry), time.Duration(c.Timeout)) // from one probe to the next
	return longest(c.Interval) + time.Duration(c.Fall-1)*gap + time.Duration(c.Timeout)
}

// bound is how long VRRP may take to notice that the Active router is silent,
// for a Backup of this priority: Active_Down_Interval, RFC 9568, section 6.1.
func bound(interval time.Duration, priority int) time.Duration {
	return 3*interval + skew(interval, priority)
}

func skew(interval time.Duration, priority int) time.Duration {
	return interval * time.Duration(256-priority) / 256
}

// The configuration of examples/director, as far as it is needed here.
type (
	directorConfig struct {
		Interface string    `json:"interface"`
		Services  []service `json:"services"`
		VRRP      router    `json:"vrrp"`
		Sync      *daemon   `json:"sync,omitempty"`
	}
	service struct {
		VIP       netip.AddrPort `json:"vip"`
		Protocol  string         `json:"protocol"`
		Scheduler string         `json:"scheduler"`
		Forward   string         `json:"forward"`
		Real      []real         `json:"real"`
		Check     check          `json:"check"`
	}
	real struct {
		Addr   netip.AddrPort `json:"addr"`
		Weight int            `json:"weight"`
	}
	check struct {
		Kind     string   `json:"kind"`
		Path     string   `json:"path,omitempty"`
		Interval duration `json:"interval"`
		Timeout  duration `json:"timeout"`
		Retry    duration `json:"retry"`
		Rise     int      `json:"rise"`
		Fall     int      `json:"fall"`
	}
	router struct {
		Interface string   `json:"interface"`
		VRID      int      `json:"vrid"`
		Priority  int      `json:"priority"`
		Interval  duration `json:"interval"`
		// PreemptDelay gives a director that returns the time to hear of the connections
		// that last. Those of this client do not.
		PreemptDelay duration `json:"preempt_delay"`
	}
	daemon struct {
		Interface string `json:"interface"`
		ID        int    `json:"id"`
	}
)

// duration is written as people write it, "250ms".
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// writeConfig writes the file that a director is started with.
func writeConfig(file string, plane dataplane, priority int, interval time.Duration) error {
	s := service{VIP: netip.AddrPortFrom(virtual, port), Protocol: "tcp", Scheduler: "rr", Forward: plane.forward, Check: watching}
	for _, w := range webs {
		s.Real = append(s.Real, real{Addr: netip.AddrPortFrom(w.addr, port), Weight: 1})
	}
	cfg := directorConfig{
		Interface: "eth0",
		Services:  []service{s},
		VRRP:      router{Interface: "eth0", VRID: vrid, Priority: priority, Interval: duration(interval)},
	}
	if plane.sync {
		cfg.Sync = &daemon{Interface: "eth0", ID: vrid}
	}
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return fmt.Errorf("configuration of a director: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
