// Command ha-proxy-pair keeps a virtual address where a proxy lives: it watches
// the nginx beside it, as a process and by HTTP, and takes part in the election of
// who holds the address only as long as it is well. Run it on two machines that
// each have an nginx: the pair that is usually made of nginx, keepalived and
// scripts.
//
// SIGTERM or SIGINT hands the address over and leaves nothing behind. It needs
// CAP_NET_RAW and CAP_NET_ADMIN. See README.md for the topology.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/health/healthprom"
	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
	"github.com/lvskit/lvskit/vrrp/vrrpprom"
)

func main() {
	cfg, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "ha-proxy-pair:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "ha-proxy-pair:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg config) error {
	addresses, err := vip.New(cfg.vip)
	if err != nil {
		return err
	}
	if err := addresses.Open(); err != nil {
		return err
	}
	defer addresses.Close()
	cfg.router.Binder = addresses
	cfg.router.OnEvent = func(e vrrp.Event) { fmt.Println(e) }
	router, err := vrrp.New(cfg.router)
	if err != nil {
		return err
	}
	monitor, err := watch(cfg, router)
	if err != nil {
		return err
	}

	// What the router stands on lasts as long as it runs, and a little longer.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beneath, end := context.WithCancel(context.Background())
	defer end()
	var running sync.WaitGroup
	errs := make([]error, 3)
	for i, run := range []func(context.Context) error{
		addresses.Run,
		monitor.Run,
		func(ctx context.Context) error { return serve(ctx, cfg.metrics, monitor, router) },
	} {
		running.Go(func() {
			if errs[i] = run(beneath); errs[i] != nil {
				cancel()
			}
		})
	}
	err = router.Run(ctx) // ends with priority 0 and without addresses
	end()
	running.Wait()
	return errors.Join(append(errs, err)...)
}

// watch makes the checks, each with a tracker of the router. Until its first
// result a tracker is down: a machine that starts does not take the address
// before it knows that its proxy is well.
func watch(cfg config, router *vrrp.Router) (*health.Monitor, error) {
	trackers := map[string]*vrrp.Tracker{}
	monitor, err := health.New(health.Config{
		Logger: cfg.router.Logger,
		OnChange: func(c health.Change) {
			if c.Err != nil {
				fmt.Printf("%s: %v: %v\n", c.ID, c.To, c.Err)
			} else {
				fmt.Printf("%s: %v\n", c.ID, c.To)
			}
			if c.To == health.Up {
				trackers[c.ID].Up()
			} else {
				trackers[c.ID].Down()
			}
		},
	})
	if err != nil {
		return nil, err
	}
	for name, check := range cfg.checks {
		if err := monitor.Set(name, check); err != nil {
			return nil, err
		}
		if trackers[name], err = router.Track(name, cfg.weight); err != nil {
			return nil, err
		}
		trackers[name].Down()
	}
	return monitor, nil
}

// serve serves metrics until ctx ends, if there is an address for them.
func serve(ctx context.Context, addr string, monitor *health.Monitor, router *vrrp.Router) error {
	if addr == "" {
		return nil
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(healthprom.NewCollector(monitor), vrrpprom.NewCollector(router))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
