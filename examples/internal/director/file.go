package director

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// A file is the configuration as people write it. README.md explains the fields.
type file struct {
	Interface string        `json:"interface"`
	Inside    string        `json:"inside"`
	Services  []serviceFile `json:"services"`
	VRRP      *vrrpFile     `json:"vrrp"`
	Sync      *syncFile     `json:"sync"`
}

type serviceFile struct {
	VIP         netip.AddrPort `json:"vip"`
	Protocol    ipvs.Protocol  `json:"protocol"`
	Scheduler   string         `json:"scheduler"`
	Forward     forward        `json:"forward"`
	Tunnel      tunnel         `json:"tunnel"`
	Persistence duration       `json:"persistence"`
	Proxy       bool           `json:"proxy_protocol"`
	Real        []realFile     `json:"real"`
	Check       *checkFile     `json:"check"`
	Quorum      int            `json:"quorum"`
	Hysteresis  int            `json:"hysteresis"`
	Sorry       netip.AddrPort `json:"sorry"`
	FailOpen    float64        `json:"fail_open"`
	Inhibit     bool           `json:"inhibit"`
	SlowStart   duration       `json:"slow_start"`
	Drain       duration       `json:"drain"`
}

func (s *serviceFile) defaults() {
	*s = serviceFile{Protocol: ipvs.TCP, Scheduler: string(ipvs.WLC), Drain: duration(drainTime)}
}

// drainTime is how long a real server that leaves the configuration may take to
// finish its connections, unless the file says otherwise.
const drainTime = 30 * time.Second

type realFile struct {
	Addr   netip.AddrPort `json:"addr"`
	Weight int            `json:"weight"`
}

func (r *realFile) defaults() { r.Weight = 1 }

type vrrpFile struct {
	Interface    string       `json:"interface"`
	VRID         uint8        `json:"vrid"`
	Priority     uint8        `json:"priority"`
	Interval     duration     `json:"interval"`
	NoPreempt    bool         `json:"nopreempt"`
	PreemptDelay *duration    `json:"preempt_delay"` // nil: as the sync needs it
	Peers        []netip.Addr `json:"peers"`
}

type syncFile struct {
	Interface string `json:"interface"`
	ID        uint8  `json:"id"`
}

// readFile reads a configuration. Errors name the file and the place in it.
func readFile(name string) (config, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return config{}, err
	}
	cfg, err := parse(text)
	if err != nil {
		return config{}, fmt.Errorf("%s: %w", name, err)
	}
	return cfg, nil
}

func parse(text []byte) (config, error) {
	var whole json.RawMessage
	err := json.Unmarshal(text, &whole)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		line := 1 + strings.Count(string(text[:min(int(syntax.Offset), len(text))]), "\n")
		return config{}, fmt.Errorf("line %d: %w", line, err)
	}
	var f file
	if err := strict("", whole, &f); err != nil {
		return config{}, err
	}
	return f.config()
}

// duration is written as "1s" or "250ms".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = 0
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err == nil && v < 0 {
		err = fmt.Errorf("%s is negative", text)
	}
	*d = duration(v)
	return err
}

// forward is written as in the tutorials: dr, nat or tun.
type forward ipvs.Forward

func (f *forward) UnmarshalText(text []byte) error {
	switch string(text) {
	case "dr", "":
		*f = forward(ipvs.ForwardRoute)
	case "nat":
		*f = forward(ipvs.ForwardMasq)
	case "tun":
		*f = forward(ipvs.ForwardTunnel)
	default:
		return fmt.Errorf("%q: want dr, nat or tun", text)
	}
	return nil
}

func (f forward) String() string {
	switch ipvs.Forward(f) {
	case ipvs.ForwardMasq:
		return "nat"
	case ipvs.ForwardTunnel:
		return "tun"
	}
	return "dr"
}

// tunnel is written as ipip, gre or gue:PORT.
type tunnel ipvs.Tunnel

func (t *tunnel) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*t = tunnel{}
		return nil
	}
	kind, port, hasPort := strings.Cut(string(text), ":")
	if err := t.Type.UnmarshalText([]byte(kind)); err != nil {
		return err
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return err
		}
		t.Port = uint16(n)
	}
	return nil
}
