// Command director is the director of an LVS cluster: it sets the kernel's
// settings for its role, the virtual service with its real servers and the
// virtual address, keeps them until SIGTERM or SIGINT, and takes all of it
// back. Run twice, or again after SIGKILL, it repairs what is not as wanted.
//
// It needs CAP_NET_ADMIN in the initial user namespace, and a kernel with
// ip_vs. See README.md for a topology.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/sysctl"
	"github.com/lvskit/lvskit/vip"
)

func main() {
	cfg, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "director:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "director:", err)
		os.Exit(1)
	}
}

// director is the composition: three packages, one cluster.
type director struct {
	config
	out      io.Writer
	settings *sysctl.Client
	table    *ipvs.Client
	address  *vip.Manager
	owned    *ownedServices
}

func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	d := &director{config: cfg, out: out, owned: &ownedServices{path: cfg.runFile("rules")}}
	if d.settings, err = sysctl.New(sysctl.Config{Record: cfg.runFile("sysctl")}); err != nil {
		return err
	}
	if d.address, err = vip.New(vip.Config{Mark: cfg.mark}); err != nil {
		return err
	}
	// Open loads ip_vs, and with it come the settings of net/ipv4/vs.
	if d.table, err = ipvs.Open(ipvs.Config{}); err != nil {
		return err
	}
	defer d.table.Close()
	if cfg.plan {
		return d.plan(ctx)
	}
	if err := d.address.Open(); err != nil {
		return err
	}
	defer d.address.Close()
	defer func() { err = errors.Join(err, d.down()) }()
	if err := d.up(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	// Run puts the address back if somebody removes it, and releases it in the end.
	return d.address.Run(ctx)
}

// plan prints what up would do, as a person would type it.
func (d *director) plan(ctx context.Context) error {
	settings, err := d.settings.Plan(ctx, d.kernel)
	if err != nil {
		return err
	}
	rules, err := d.table.Plan(ctx, d.services, d.owned.policy())
	if err != nil {
		return err
	}
	held, err := d.address.Read(ctx)
	if err != nil {
		return err
	}
	addresses, err := vip.Plan(held, d.addresses)
	if err != nil {
		return err
	}
	show(d.out, settings)
	show(d.out, rules)
	show(d.out, addresses)
	return nil
}

// up makes the cluster's settings, then the service, then the address, so that
// no request comes before there is a service to take it.
func (d *director) up(ctx context.Context) error {
	settings, err := d.settings.Apply(ctx, d.kernel)
	show(d.out, settings)
	if err != nil {
		return err
	}
	policy := d.owned.policy()
	if err := d.owned.add(d.services); err != nil {
		return err
	}
	rules, err := d.table.Apply(ctx, d.services, policy)
	show(d.out, rules)
	if err != nil {
		return err
	}
	if err := d.owned.set(d.services); err != nil {
		return err
	}
	addresses, err := d.address.Apply(ctx, d.addresses)
	show(d.out, addresses)
	return err
}

// down takes back what up did, the other way round. It goes on after an error.
func (d *director) down() error {
	ctx := context.Background() // the signal has ended the other
	errAddress := d.address.Release(ctx)
	_, errTable := d.table.Apply(ctx, nil, d.owned.policy())
	if errTable == nil {
		errTable = d.owned.set(nil)
	}
	changes, errRecord := d.settings.Recorded(ctx) // those of a killed run, too
	_, _, errSettings := d.settings.Restore(ctx, changes)
	return errors.Join(errAddress, errTable, errRecord, errSettings)
}

func show[C fmt.Stringer](out io.Writer, changes []C) {
	for _, c := range changes {
		fmt.Fprintln(out, c)
	}
}
