// Command nodeport is the balancer in front of a Kubernetes cluster: it leads
// connections from a port of a virtual address to the NodePort of the nodes,
// by nginx (TCP proxy) or by IPVS (in the kernel). Run it on two machines: one
// holds the address, and the other takes it when that machine or its balancer
// dies.
//
// SIGTERM or SIGINT hands the address over and leaves nothing behind. Run again
// after SIGKILL, it mends what the killed one has left. It needs CAP_NET_RAW and
// CAP_NET_ADMIN. See README.md for the topology.
//
// How it flows: config.go reads the flags; main.go puts election, addresses,
// checks and balancer together; nginx.go and ipvs.go are the balancers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// A balancer leads connections from the virtual address to the nodes.
type balancer interface {
	// open makes what lasts as long as the program runs.
	open(ctx context.Context) error
	// checks are what balance wants to know.
	checks() map[string]health.Check
	// balance makes the balancer as the checks want it, and tells whether it serves.
	balance(ctx context.Context, checks map[string]health.Status) (serves bool, err error)
	// close takes back all that was made, by a killed predecessor too.
	close(ctx context.Context) error
}

func main() {
	cfg, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "nodeport:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "nodeport:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg config) (err error) {
	addresses, err := vip.New(cfg.addresses)
	if err != nil {
		return err
	}
	if err := addresses.Open(); err != nil { // only one program comes beyond this
		return err
	}
	defer addresses.Close()
	cfg.router.Binder = addresses
	cfg.router.OnEvent = func(e vrrp.Event) { fmt.Println(e) }
	router, err := vrrp.New(cfg.router)
	if err != nil {
		return err
	}
	serves, err := router.Track(cfg.form, 0)
	if err != nil {
		return err
	}
	serves.Down() // until it is known that it does
	changed := make(chan struct{}, 1)
	monitor, err := watch(cfg.balancer.checks(), changed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cfg.balancer.close(context.WithoutCancel(ctx))) }()
	if err := cfg.balancer.open(ctx); err != nil {
		return err
	}

	// What the router stands on lasts as long as it runs, and a little longer.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beneath, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var running sync.WaitGroup
	errs := make([]error, 3)
	for i, part := range []func(context.Context) error{
		addresses.Run,
		monitor.Run,
		func(ctx context.Context) error { return cfg.balance(ctx, monitor, changed, serves) },
	} {
		running.Go(func() {
			if errs[i] = part(beneath); errs[i] != nil {
				cancel()
			}
		})
	}
	err = router.Run(ctx) // ends with priority 0 and without addresses
	end()
	running.Wait()
	return errors.Join(append(errs, err)...)
}

// watch makes the checks. It tells by changed of each new result.
func watch(checks map[string]health.Check, changed chan<- struct{}) (*health.Monitor, error) {
	monitor, err := health.New(health.Config{OnChange: func(c health.Change) {
		if c.Err != nil {
			fmt.Printf("%s: %v: %v\n", c.ID, c.To, c.Err)
		} else {
			fmt.Printf("%s: %v\n", c.ID, c.To)
		}
		select {
		case changed <- struct{}{}:
		default: // it will look at this one too
		}
	}})
	if err != nil {
		return nil, err
	}
	for id, check := range checks {
		if err := monitor.Set(id, check); err != nil {
			return nil, err
		}
	}
	return monitor, nil
}

// balance keeps the balancer as the checks want it, until ctx ends. The machine
// takes part in the election while it serves.
func (cfg config) balance(ctx context.Context, monitor *health.Monitor, changed <-chan struct{}, serves *vrrp.Tracker) error {
	tick := time.NewTicker(cfg.again)
	defer tick.Stop()
	for {
		ok, err := cfg.balancer.balance(ctx, monitor.Snapshot())
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "nodeport:", err)
		}
		if ok {
			serves.Up()
		} else {
			serves.Down()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}
