package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// A config is what the flags say: the router, what holds its addresses, what is
// checked, and what a failed check does.
type config struct {
	router  vrrp.Config
	vip     vip.Config
	checks  map[string]health.Check
	weight  int
	metrics string
}

// settings are the flags that have to be brought together.
type settings struct {
	prefixes        []netip.Prefix
	pidFile, name   string
	url, match      string
	down            string
	every, patience time.Duration
	rise, fall      int
}

func parse(args []string, output io.Writer) (cfg config, err error) {
	var (
		r       = &cfg.router
		s       settings
		verbose bool
	)
	f := flag.NewFlagSet("ha-proxy-pair", flag.ContinueOnError)
	f.SetOutput(output)
	f.StringVar(&r.Interface, "interface", "eth0", "where advertisements are sent and heard, and the addresses are put")
	f.Func("vrid", "number of the virtual router on this link, `1-255`", number(&r.VRID))
	f.Func("vip", "virtual `ADDRESS`, or ADDRESS/BITS; give one for each", func(text string) error {
		p, err := prefix(text)
		s.prefixes = append(s.prefixes, p)
		return err
	})
	f.Func("priority", "`1-254` (default 100)", number(&r.Priority))
	f.DurationVar(&r.Interval, "interval", 0, "time between advertisements (default 1s)")
	f.BoolVar(&r.NoPreempt, "nopreempt", false, "who has the address keeps it, until its own proxy fails")
	f.DurationVar(&r.PreemptDelay, "preempt-delay", 0, "leave an Active router of lower priority alone for so long")
	f.Func("peer", "send to this `ADDRESS` by unicast, and hear only such; give one for each", func(text string) error {
		a, err := netip.ParseAddr(text)
		r.Peers = append(r.Peers, a)
		return err
	})
	f.StringVar(&s.pidFile, "pid", "/run/nginx.pid", "PID `FILE` of the proxy; empty: do not watch the process")
	f.StringVar(&s.name, "name", "nginx", "name of that process")
	f.StringVar(&s.url, "url", "http://127.0.0.1/", "`URL` that the local proxy must answer with 200-299, by an address of this machine; empty: do not ask")
	f.StringVar(&s.match, "match", "", "regular `EXPRESSION` that the body of -url must match")
	f.StringVar(&s.down, "down", "", "`FILE` that takes this machine out while it is there")
	f.IntVar(&cfg.weight, "weight", 0, "what each failed check adds to the priority, -1 to -253; 0: one is enough to give way at once")
	f.DurationVar(&s.every, "check", time.Second, "time between checks")
	f.DurationVar(&s.patience, "timeout", time.Second, "the longest that an answer to -url may take")
	f.IntVar(&s.rise, "rise", 1, "answers in a row that bring -url up")
	f.IntVar(&s.fall, "fall", 2, "failures in a row that bring it down")
	f.StringVar(&cfg.metrics, "metrics", "", "`ADDRESS:PORT` to serve Prometheus metrics at, by /metrics")
	f.Func("mark", "ownership mark of the addresses, `4-255`; routers on one machine need different ones", number(&cfg.vip.Mark))
	f.StringVar(&cfg.vip.RunDir, "run", "", "`FOLDER` of the notes that outlive a SIGKILL (default /run/lvskit)")
	f.BoolVar(&verbose, "v", false, "log packets and probes")
	if err := f.Parse(args); err != nil {
		return config{}, err
	}
	if f.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if cfg.weight > 0 {
		return config{}, fmt.Errorf("weight %d: a failed check takes priority away, so give a negative one, or 0", cfg.weight)
	}
	if err := cfg.hold(s.prefixes); err != nil {
		return config{}, err
	}
	if cfg.checks, err = s.checks(); err != nil {
		return config{}, err
	}
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	r.Logger = slog.New(slog.NewTextHandler(output, &slog.HandlerOptions{Level: level}))
	cfg.vip.Logger = r.Logger
	return cfg, nil
}

// hold sets the virtual addresses.
func (cfg *config) hold(prefixes []netip.Prefix) error {
	if len(prefixes) == 0 {
		return errors.New("no virtual address: give -vip")
	}
	for _, p := range prefixes {
		cfg.router.Addresses = append(cfg.router.Addresses, p.Addr())
		cfg.vip.State.Addresses = append(cfg.vip.State.Addresses, vip.Address{Interface: cfg.router.Interface, Addr: p.Addr(), Bits: p.Bits()})
	}
	return nil
}

// checks are what -pid, -url and -down ask for.
func (s *settings) checks() (map[string]health.Check, error) {
	checks := map[string]health.Check{}
	local := health.Check{Interval: s.every, Rise: 1, Fall: 1}
	if s.pidFile != "" {
		local.Prober = &health.Process{PIDFile: s.pidFile, Name: s.name}
		checks["process"] = local
	}
	if s.down != "" {
		local.Prober = health.File{Path: s.down, Test: health.FileAbsent}
		checks["down"] = local
	}
	if s.url != "" {
		prober, err := s.http()
		if err != nil {
			return nil, err
		}
		checks["http"] = health.Check{Prober: prober, Interval: s.every, Timeout: s.patience, Rise: s.rise, Fall: s.fall}
	}
	if len(checks) == 0 {
		return nil, errors.New("nothing is watched: give -pid, -url or -down")
	}
	return checks, nil
}

// http is the check of -url. The proxy itself is asked: what is asked for should
// be answered by it and not by a server behind it, whose death another proxy
// would not mend.
func (s *settings) http() (health.HTTP, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return health.HTTP{}, err
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return health.HTTP{}, fmt.Errorf("url %s: port %s", s.url, port)
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil || u.Scheme != "http" {
		return health.HTTP{}, fmt.Errorf("url %s: want http:// and an address of this machine", s.url)
	}
	if slices.ContainsFunc(s.prefixes, func(p netip.Prefix) bool { return p.Addr() == addr }) {
		return health.HTTP{}, fmt.Errorf("url %s: a machine without the virtual address would ask the other one: give an address of this machine", s.url)
	}
	ask := health.URL{Path: u.RequestURI()}
	if s.match != "" {
		if ask.Body, err = regexp.Compile(s.match); err != nil {
			return health.HTTP{}, err
		}
	}
	return health.HTTP{Addr: netip.AddrPortFrom(addr, uint16(n)), URLs: []health.URL{ask}}, nil
}

// number reads the number of a flag into a small integer.
func number[T ~uint8](to *T) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 8)
		*to = T(n)
		return err
	}
}

// prefix reads an address with or without its length.
func prefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	return netip.PrefixFrom(a, a.BitLen()), err
}
