package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/lvskit/lvskit/nat"
	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// A config is what the flags say: the router, what holds its address, and what
// leads connections on from there.
type config struct {
	router    vrrp.Config
	addresses vip.Config
	form      string
	balancer  balancer
	again     time.Duration // it is seen to so often, though nothing has changed
}

// service is what is balanced, and how it is watched.
type service struct {
	vip      netip.AddrPort
	nodes    []netip.AddrPort
	iface    string
	run      string // the folder of what has to outlive a SIGKILL
	interval time.Duration
}

func parse(args []string, output io.Writer) (cfg config, err error) {
	var (
		r       = &cfg.router
		s       service
		backend nat.Backend
		verbose bool
	)
	f := flag.NewFlagSet("nodeport", flag.ContinueOnError)
	f.SetOutput(output)
	f.StringVar(&cfg.form, "form", "nginx", "what balances: nginx or ipvs")
	f.StringVar(&s.iface, "interface", "eth0", "where the virtual address is put, and advertisements are sent and heard")
	f.Func("vrid", "number of the virtual router on this link, `1-255`", number(&r.VRID))
	f.Func("priority", "`1-254` (default 100)", number(&r.Priority))
	f.DurationVar(&r.Interval, "interval", 0, "time between advertisements (default 1s)")
	f.BoolVar(&r.NoPreempt, "nopreempt", false, "who has the address keeps it, until it does not serve")
	f.Func("vip", "virtual `ADDRESS:PORT`", func(text string) (err error) {
		s.vip, err = netip.ParseAddrPort(text)
		return err
	})
	f.Func("node", "`ADDRESS:PORT` of a node, its NodePort; give one for each", func(text string) error {
		n, err := netip.ParseAddrPort(text)
		s.nodes = append(s.nodes, n)
		return err
	})
	f.DurationVar(&s.interval, "check", time.Second, "time between checks, of nginx or of the nodes")
	f.DurationVar(&cfg.again, "again", 5*time.Second, "time after which nginx tries a dead node again, and is itself started again when it has ended; and at which IPVS and nat are looked at, in case that others have changed them")
	f.TextVar(&backend, "backend", nat.Auto, "what rewrites source addresses, with IPVS: auto, nftables or iptables")
	f.StringVar(&s.run, "run", "/run/lvskit/nodeport", "`FOLDER` of nginx's files, and of the notes that outlive a SIGKILL")
	f.BoolVar(&verbose, "v", false, "log packets and probes")
	if err := f.Parse(args); err != nil {
		return config{}, err
	}
	if f.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if s.run, err = filepath.Abs(s.run); err == nil {
		err = s.validate()
	}
	if err != nil {
		return config{}, err
	}
	switch {
	case cfg.again <= 0:
		err = fmt.Errorf("-again %v: give more", cfg.again)
	case cfg.form == "nginx":
		cfg.balancer = newNginx(s, cfg.again)
	case cfg.form == "ipvs":
		cfg.balancer, err = newDirector(s, backend)
	default:
		err = fmt.Errorf("-form %q: want nginx or ipvs", cfg.form)
	}
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	r.Logger = slog.New(slog.NewTextHandler(output, &slog.HandlerOptions{Level: level}))
	r.Interface, r.Addresses = s.iface, []netip.Addr{s.vip.Addr()}
	cfg.addresses = vip.Config{
		Logger: r.Logger, RunDir: s.run,
		State: vip.State{Addresses: []vip.Address{{Interface: s.iface, Addr: s.vip.Addr()}}},
	}
	return cfg, err
}

func (s service) validate() error {
	if s.vip.Port() == 0 {
		return errors.New("no virtual address with a port: give -vip ADDRESS:PORT")
	}
	if len(s.nodes) == 0 {
		return errors.New("no node: give -node ADDRESS:PORT")
	}
	for i, n := range s.nodes {
		switch {
		case n.Port() == 0:
			return fmt.Errorf("-node %s: it has no port", n)
		case n.Addr().Is4() != s.vip.Addr().Is4():
			return fmt.Errorf("-node %s: it is of another family than %s", n, s.vip)
		case slices.Contains(s.nodes[:i], n):
			return fmt.Errorf("-node %s: it is there twice", n)
		}
	}
	return nil
}

// number reads the number of a flag into a small integer.
func number[T ~uint8](to *T) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 8)
		*to = T(n)
		return err
	}
}
