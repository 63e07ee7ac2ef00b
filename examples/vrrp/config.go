package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// A config is what the flags say: the router, what holds its addresses, and what
// this program adds.
type config struct {
	router       vrrp.Config
	vip          vip.Config
	notify       string
	priorityFile string
}

func parse(args []string, output io.Writer) (cfg config, err error) {
	var (
		r        = &cfg.router
		prefixes []netip.Prefix
		verbose  bool
	)
	f := flag.NewFlagSet("vrrp", flag.ContinueOnError)
	f.SetOutput(output)
	f.StringVar(&r.Interface, "interface", "eth0", "where advertisements are sent and heard, and the addresses are put")
	f.Func("vrid", "number of the virtual router on this link, `1-255`", number(&r.VRID))
	f.Func("vip", "virtual `ADDRESS`, or ADDRESS/BITS; give one for each", func(s string) error {
		p, err := prefix(s)
		prefixes = append(prefixes, p)
		return err
	})
	f.Func("priority", "`1-254`, or 255 for the owner of the addresses (default 100)", number(&r.Priority))
	f.StringVar(&cfg.priorityFile, "priority-file", "", "`FILE` with the priority, read at the start and again at SIGUSR2")
	f.Func("version", "`2 or 3` (default 3)", number(&r.Version))
	f.DurationVar(&r.Interval, "interval", 0, "time between advertisements (default 1s)")
	f.BoolVar(&r.NoPreempt, "nopreempt", false, "leave a living Active router of lower priority alone")
	f.DurationVar(&r.PreemptDelay, "preempt-delay", 0, "leave it alone for so long")
	f.Func("peer", "send to this `ADDRESS` by unicast, and hear only such; give one for each", func(s string) error {
		a, err := netip.ParseAddr(s)
		r.Peers = append(r.Peers, a)
		return err
	})
	f.TextVar(&r.Source, "source", netip.Addr{}, "`ADDRESS` to send from (default the interface's first)")
	f.TextVar(&r.Auth.Kind, "auth", r.Auth.Kind, "none, pass or ah (version 2)")
	f.StringVar(&r.Auth.Password, "password", "", "of -auth")
	f.TextVar(&r.Checksum, "checksum", r.Checksum, "of version 3 over IPv4: pseudo-header or message-only")
	f.BoolVar(&r.VirtualMAC, "virtual-mac", false, "use the virtual router's own MAC")
	f.StringVar(&cfg.notify, "notify", "", "`COMMAND` to run at each transition, with the arguments STATE NAME PRIORITY")
	f.Func("mark", "ownership mark of the addresses, `4-255`; routers on one machine need different ones", number(&cfg.vip.Mark))
	f.StringVar(&cfg.vip.RunDir, "run", "", "`FOLDER` of the notes that outlive a SIGKILL (default /run/lvskit)")
	f.BoolVar(&verbose, "v", false, "log packets")
	if err := f.Parse(args); err != nil {
		return config{}, err
	}
	if f.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if len(prefixes) == 0 {
		return config{}, errors.New("no virtual address: give -vip")
	}
	if cfg.priorityFile != "" {
		if r.Priority, err = priority(cfg.priorityFile); err != nil {
			return config{}, err
		}
	}
	device := r.Interface
	if r.VirtualMAC {
		mac := vip.VirtualMAC{Name: "vrrp." + strconv.Itoa(int(r.VRID)), Parent: r.Interface, VRID: r.VRID, IPv6: prefixes[0].Addr().Is6()}
		cfg.vip.State.VirtualMACs = []vip.VirtualMAC{mac}
		device = mac.Name
	}
	for _, p := range prefixes {
		r.Addresses = append(r.Addresses, p.Addr())
		cfg.vip.State.Addresses = append(cfg.vip.State.Addresses, vip.Address{Interface: device, Addr: p.Addr(), Bits: p.Bits()})
	}
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	r.Logger = slog.New(slog.NewTextHandler(output, &slog.HandlerOptions{Level: level}))
	cfg.vip.Logger = r.Logger
	return cfg, nil
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

// priority reads the priority from a file.
func priority(file string) (p uint8, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	if err := number(&p)(strings.TrimSpace(string(text))); err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}
