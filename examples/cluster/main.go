// Command cluster builds a whole LVS cluster on one machine and uses it: a
// client, a director and two real servers, each with a network of its own, the
// director running examples/director and the real servers
// examples/realserver. It shows which real server answers each request, and
// leaves nothing behind.
//
// It needs root and a kernel with ip_vs. Where they are missing, the machine
// of the tests has them:
//
//	go run ./internal/cmd/vmtest -exec cluster
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/examples/internal/programs"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/ipvs"
)

func main() {
	var cfg config
	flag.StringVar(&cfg.mode, "mode", "all", "dr, nat, tun or all: how packets reach the real servers")
	flag.StringVar(&cfg.scheduler, "scheduler", "rr", "rr, wrr, lc, wlc, sh, ...")
	flag.IntVar(&cfg.requests, "requests", 6, "how many requests the client sends")
	flag.BoolVar(&cfg.ipv6, "6", false, "IPv6")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

type config struct {
	mode      string
	scheduler string
	requests  int
	ipv6      bool
}

func run(ctx context.Context, cfg config) error {
	if err := available(ctx); err != nil {
		return fmt.Errorf("%w\nTo see it all the same, in a machine with such a kernel: go run ./internal/cmd/vmtest -exec cluster", err)
	}
	dir, err := os.MkdirTemp("", "lvskit-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	found, err := programs.Find(ctx, dir, "director", "realserver")
	if err != nil {
		return err
	}
	modes := []string{cfg.mode}
	if cfg.mode == "all" {
		modes = []string{"dr", "nat", "tun"}
	}
	for _, mode := range modes {
		cfg.mode = mode
		if err := demonstrate(ctx, cfg, found, filepath.Join(dir, mode)); err != nil {
			return fmt.Errorf("mode %s: %w", mode, err)
		}
	}
	return nil
}

// available says early what is missing, in the words of the library.
func available(ctx context.Context) error {
	table, err := ipvs.Open(ipvs.Config{})
	if err != nil {
		return err
	}
	defer table.Close()
	_, err = table.Info(ctx)
	return err
}

// demonstrate builds the cluster of one mode, sends the requests and says who
// answered.
func demonstrate(ctx context.Context, cfg config, program map[string]string, dir string) (err error) {
	l, err := lab.New(lab.Config{})
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := newCluster(l, cfg.mode, cfg.ipv6)
	if err != nil {
		return err
	}
	fmt.Printf("\n== %s: the client asks for %s\n", strings.ToUpper(cfg.mode), c.vip)
	for i, s := range c.servers {
		if cfg.mode == "nat" {
			break
		}
		if err := start(ctx, s, program["realserver"], append(c.serverArgs(i), "-run", dir+s.Name())...); err != nil {
			return err
		}
	}
	if err := c.serve(); err != nil {
		return err
	}
	args, err := c.directorArgs(dir+".json", c.service(cfg.scheduler))
	if err != nil {
		return err
	}
	if err := start(ctx, c.director, program["director"], append(args, "-run", dir)...); err != nil {
		return err
	}
	for n := range cfg.requests {
		page, err := c.get(ctx, "tcp")
		if err != nil {
			return fmt.Errorf("request %d: %w", n+1, err)
		}
		fmt.Printf("request %d: %s\n", n+1, page)
	}
	return show(ctx, c)
}

// start starts one of the programs, waits until it is ready, and shows what
// it has changed.
func start(ctx context.Context, h *lab.Host, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	fmt.Printf("-- %s: %s %s\n", h.Name(), filepath.Base(program), strings.Join(args, " "))
	p, err := h.Start(program, args...)
	if err != nil {
		return err
	}
	if err := p.WaitOutput(ctx, "ready"); err != nil {
		return errors.Join(err, errors.New(p.Output()))
	}
	for line := range strings.Lines(strings.TrimSuffix(p.Output(), "ready\n")) {
		fmt.Print("   ", line)
	}
	return nil
}

// show prints the director's table with its connections.
func show(ctx context.Context, c *cluster) error {
	table, err := ipvs.Open(ipvs.Config{NetNS: c.director.Path()})
	if err != nil {
		return err
	}
	defer table.Close()
	services, err := table.Services(ctx)
	if err != nil {
		return err
	}
	for _, s := range services {
		fmt.Printf("%s %s\n", s.ID, s.Scheduler)
		for _, d := range s.Destinations {
			fmt.Printf("  -> %-24s %-7s weight %d, active %d, inactive %d\n", d.Addr, d.Forward, d.Weight, d.Active, d.Inactive)
		}
	}
	return nil
}
