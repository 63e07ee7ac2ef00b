// Command realserver prepares a machine to be a real server of an LVS cluster,
// by direct routing (-mode dr) or by tunnel (-mode tun): it keeps the machine
// from answering ARP for the virtual address, then puts the address on lo or
// on a tunnel device. On SIGTERM or SIGINT it takes all of it back. Run twice,
// or again after SIGKILL, it repairs what is not as wanted.
//
// It needs CAP_NET_ADMIN. A real server behind NAT needs none of this, only
// the director as its gateway. See README.md for a topology.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/lvskit/lvskit/vip"
)

// mark tells this program's addresses from those of a director that runs on
// the same machine.
const mark = vip.DefaultMark + 1

func main() {
	cfg, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "realserver:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "realserver:", err)
		os.Exit(1)
	}
}

type config struct {
	state  vip.State
	runDir string
	plan   bool
}

func parse(args []string, usage io.Writer) (cfg config, err error) {
	var (
		vips   []netip.Addr
		tunnel vip.Tunnel
		mode   string
		iface  string
	)
	f := flag.NewFlagSet("realserver", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&mode, "mode", "dr", "dr (direct routing) or tun (tunnel)")
	f.StringVar(&iface, "interface", "eth0", "interface towards the clients' network, which must not answer ARP for the virtual address")
	f.Func("vip", "virtual `ADDRESS`; give one for each", func(s string) error {
		a, err := netip.ParseAddr(s)
		vips = append(vips, a)
		return err
	})
	f.TextVar(&tunnel.Local, "local", netip.Addr{}, "with -mode tun: this machine's address that the director sends to")
	f.TextVar(&tunnel.Kind, "tunnel", tunnel.Kind, "with -mode tun: ipip or gre")
	gue := f.Uint("gue", 0, "with -mode tun: UDP `port` of GUE; 0 is none")
	f.StringVar(&cfg.runDir, "run", "", "folder of the notes that outlive a SIGKILL (default /run/lvskit)")
	f.BoolVar(&cfg.plan, "plan", false, "print what would be changed, and change nothing")
	if err := f.Parse(args); err != nil {
		return config{}, err
	}
	switch {
	case f.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case len(vips) == 0:
		return config{}, errors.New("no virtual address: give -vip")
	case *gue > 65535:
		return config{}, fmt.Errorf("-gue %d is not a port", *gue)
	case mode == "dr":
		cfg.state = vip.DirectRouting(vips, iface)
	case mode == "tun":
		tunnel.GUEPort = uint16(*gue)
		cfg.state = vip.Tunneling(tunnel, vips, iface)
	default:
		return config{}, fmt.Errorf("-mode %q: want dr or tun", mode)
	}
	return cfg, cfg.state.Validate()
}

func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	m, err := vip.New(vip.Config{Mark: mark, RunDir: cfg.runDir})
	if err != nil {
		return err
	}
	if cfg.plan {
		have, err := m.Read(ctx)
		if err != nil {
			return err
		}
		changes, err := vip.Plan(have, cfg.state)
		show(out, changes)
		return err
	}
	if err := m.Open(); err != nil {
		return err
	}
	defer m.Close()
	changes, err := m.Apply(ctx, cfg.state)
	show(out, changes)
	if err != nil {
		return errors.Join(err, m.Release(context.Background()))
	}
	fmt.Fprintln(out, "ready")
	return m.Run(ctx) // puts back what somebody removes; in the end restores all
}

func show(out io.Writer, changes []vip.Change) {
	for _, c := range changes {
		fmt.Fprintln(out, c)
	}
}
