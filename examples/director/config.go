package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/sysctl"
	"github.com/lvskit/lvskit/vip"
)

// config is what the flags ask for, in the words of the three packages.
type config struct {
	kernel    []sysctl.Setting
	services  []ipvs.Service
	addresses vip.State
	mark      uint8
	runDir    string
	plan      bool
}

func (c config) runFile(name string) string { return filepath.Join(c.runDir, "director."+name) }

func parse(args []string, usage io.Writer) (cfg config, err error) {
	var (
		service   ipvs.Service
		reals     []ipvs.Destination
		iface     string
		inside    string
		forward   = ipvs.ForwardRoute
		tunnel    ipvs.Tunnel
		persist   time.Duration
		scheduler string
	)
	service.ID.Protocol = ipvs.TCP
	f := flag.NewFlagSet("director", flag.ContinueOnError)
	f.SetOutput(usage)
	f.TextVar(&service.ID.Addr, "vip", service.ID.Addr, "virtual address and port, as 192.168.247.188:80 or [2001:db8::1]:80")
	f.TextVar(&service.ID.Protocol, "protocol", service.ID.Protocol, "tcp, udp or sctp")
	f.StringVar(&iface, "interface", "eth0", "interface that holds the virtual address")
	f.StringVar(&inside, "inside", "", "with -forward nat: interface towards the real servers, if it is another")
	f.StringVar(&scheduler, "scheduler", "wlc", "rr, wrr, lc, wlc, sh, mh, ...")
	f.DurationVar(&persist, "persistence", 0, "keep a client at one real server for this long; 0 is off")
	f.Func("forward", "dr, nat or tun (default dr)", func(s string) (err error) {
		forward, err = parseForward(s)
		return err
	})
	f.Func("tunnel", "with -forward tun: ipip, gre or gue:PORT (default ipip)", func(s string) (err error) {
		tunnel, err = parseTunnel(s)
		return err
	})
	f.Func("real", "real server `ADDRESS:PORT[,WEIGHT]`; give one for each", func(s string) error {
		d, err := parseReal(s)
		reals = append(reals, d)
		return err
	})
	f.BoolVar(&cfg.plan, "plan", false, "print what would be changed, and change nothing")
	f.StringVar(&cfg.runDir, "run", "/run/lvskit", "folder of the notes that outlive a SIGKILL")
	if err := f.Parse(args); err != nil {
		return config{}, err
	}
	if f.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	for i := range reals {
		reals[i].Forward, reals[i].Tunnel = forward, tunnel
	}
	service.Scheduler = ipvs.Scheduler(scheduler)
	service.Persistence.Timeout = persist
	service.Destinations = reals
	if err := service.Validate(); err != nil {
		return config{}, err
	}
	cfg.mark = vip.DefaultMark
	cfg.services = []ipvs.Service{service}
	cfg.addresses = vip.State{Addresses: []vip.Address{{Interface: iface, Addr: service.ID.Addr.Addr()}}}
	interfaces := []string{iface}
	if inside != "" {
		interfaces = append(interfaces, inside)
	}
	cfg.kernel, err = settings(forward, service.ID.AddressFamily(), interfaces)
	return cfg, err
}

// settings are the kernel's settings of a director in this mode.
func settings(forward ipvs.Forward, family ipvs.Family, interfaces []string) ([]sysctl.Setting, error) {
	d := sysctl.Director{Interfaces: interfaces, IPv4: family == ipvs.IPv4, IPv6: family == ipvs.IPv6}
	role := sysctl.DirectorDR(d)
	switch forward {
	case ipvs.ForwardMasq:
		role = sysctl.DirectorNAT(d)
	case ipvs.ForwardTunnel:
		role = sysctl.DirectorTUN(d)
	}
	return sysctl.Merge(sysctl.AnyDirector(), role)
}

func parseForward(s string) (ipvs.Forward, error) {
	switch s {
	case "dr":
		return ipvs.ForwardRoute, nil
	case "nat":
		return ipvs.ForwardMasq, nil
	case "tun":
		return ipvs.ForwardTunnel, nil
	}
	return 0, fmt.Errorf("want dr, nat or tun")
}

func parseTunnel(s string) (t ipvs.Tunnel, err error) {
	kind, port, hasPort := strings.Cut(s, ":")
	if err := t.Type.UnmarshalText([]byte(kind)); err != nil {
		return t, err
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return t, err
		}
		t.Port = uint16(n)
	}
	return t, nil
}

func parseReal(s string) (d ipvs.Destination, err error) {
	addr, weight, _ := strings.Cut(s, ",")
	if d.Addr, err = netip.ParseAddrPort(addr); err != nil {
		return d, err
	}
	d.Weight, err = strconv.Atoi(cmp.Or(weight, "1"))
	return d, err
}
