package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/nat"
	"github.com/lvskit/lvskit/sysctl"
)

const (
	// mend is how long a kernel setting that others have changed stays so.
	mend = 5 * time.Second
	// again is when the rules are watched again after that has failed.
	again = time.Second
	// farewell is how long the end may take, for example because another
	// program has the lock of iptables.
	farewell = 30 * time.Second
)

// gateway is the composition: two packages, one machine.
type gateway struct {
	config
	out      io.Writer
	settings *sysctl.Client
	table    *nat.Table
	want     []sysctl.Setting // what the last reload has left
	listener net.Listener     // of the metrics; nil without
}

func run(ctx context.Context, cfg config, hup <-chan os.Signal, out io.Writer) (err error) {
	if cfg.remove {
		return remove(ctx, cfg, out)
	}
	rules, err := cfg.read()
	if err == nil {
		err = cfg.interfaces()
	}
	if err != nil {
		return err
	}
	if !cfg.plan {
		release, err := cfg.only()
		if err != nil {
			return err
		}
		defer release()
	}
	g, err := open(ctx, cfg, out)
	if err != nil {
		return err
	}
	defer g.table.Close()
	if cfg.plan {
		return g.plan(ctx, rules)
	}
	if err := g.listen(ctx); err != nil {
		return err
	}
	if g.listener != nil {
		defer g.listener.Close()
	}
	if err := g.check(ctx, rules); err != nil && ctx.Err() == nil {
		return err // nothing is changed
	}
	if !cfg.keep {
		defer func() { err = errors.Join(err, g.down()) }()
	}
	if err := g.apply(ctx, rules); err != nil {
		if ctx.Err() != nil {
			return nil // the signal came early; a killed run may have left something all the same
		}
		return err
	}
	if g.listener != nil {
		fmt.Fprintf(out, "metrics http://%s/metrics\n", g.listener.Addr())
	}
	fmt.Fprintln(out, "ready")
	return g.live(ctx, hup)
}

func open(ctx context.Context, cfg config, out io.Writer) (g *gateway, err error) {
	g = &gateway{config: cfg, out: out}
	if g.settings, err = cfg.client(); err != nil {
		return nil, err
	}
	natConfig := nat.Config{Name: cfg.name, Backend: cfg.backend, OnRepair: g.repaired}
	g.table, err = nat.Open(natConfig)
	switch {
	case !errors.Is(err, nat.ErrMixed):
		return g, err
	case cfg.plan:
		return nil, fmt.Errorf("%w: they are of a run that has ended, and would be removed first", err)
	}
	if err := sweep(ctx, cfg, out); err != nil {
		return nil, err
	}
	g.table, err = nat.Open(natConfig)
	return g, err
}

// client is for the kernel's settings, with those that there were in a file.
func (c config) client() (*sysctl.Client, error) {
	return sysctl.New(sysctl.Config{Record: filepath.Join(c.runDir, c.name+".sysctl")})
}

// only makes this the only gateway of its name in this network namespace, until
// release. A killed one has let go.
func (c config) only() (release func() error, err error) {
	l, err := net.Listen("unix", "@lvskit-gateway-"+c.name)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("another gateway named %s runs here: end it, or give this one another -name", c.name)
	}
	if err != nil {
		return nil, err
	}
	return l.Close, nil
}

// live keeps all as it is wanted, until ctx ends.
func (g *gateway) live(ctx context.Context, hup <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	var errs [3]error
	for i, part := range []func(context.Context) error{
		g.watch,
		func(ctx context.Context) error { return g.serve(ctx, hup) },
		g.expose,
	} {
		running.Go(func() {
			defer cancel() // the first that ends before ends all
			errs[i] = part(ctx)
		})
	}
	running.Wait()
	return errors.Join(errs[:]...)
}

// watch puts back rules that others remove.
func (g *gateway) watch(ctx context.Context) error {
	for {
		err := g.table.Run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		complain(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// repaired tells of rules that were put back, or could not be.
func (g *gateway) repaired(changes []nat.Change, err error) {
	if err != nil {
		complain(fmt.Errorf("put back rules: %w", err))
	}
	if err != nil && !errors.Is(err, nat.ErrContested) {
		return
	}
	fmt.Fprintln(g.out, "others have changed the rules, put back:")
	show(g.out, changes)
}

// serve reloads, and looks after the kernel's settings, which does not tell of
// changes.
func (g *gateway) serve(ctx context.Context, hup <-chan os.Signal) error {
	tick := time.NewTicker(mend)
	defer tick.Stop()
	said := "" // the same is said once
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			err, said = g.reload(ctx), ""
		case <-tick.C:
			err = g.set(ctx)
		}
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil && said != err.Error():
			complain(err)
			said = err.Error()
		}
	}
}

func (g *gateway) reload(ctx context.Context) error {
	rules, err := g.read()
	if err == nil {
		err = g.check(ctx, rules)
	}
	if err != nil {
		return fmt.Errorf("reload, nothing is changed: %w", err)
	}
	if err := g.apply(ctx, rules); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	fmt.Fprintln(g.out, "reloaded")
	return nil
}

// check finds what would not do, before anything is changed.
func (g *gateway) check(ctx context.Context, rules []nat.Rule) error {
	if _, err := g.table.Plan(ctx, rules); err != nil {
		return err
	}
	for _, doubt := range g.doubts(rules) {
		complain(doubt)
	}
	return nil
}

// apply makes rules and settings. Rules come first: nothing is forwarded before it
// is translated.
func (g *gateway) apply(ctx context.Context, rules []nat.Rule) error {
	changes, err := g.table.Apply(ctx, rules)
	show(g.out, changes)
	if err != nil {
		if left, errPlan := g.table.Plan(ctx, rules); errPlan != nil || len(left) > 0 {
			return err
		}
		complain(err) // the rules are there; connections may have been left as they were
	}
	g.want = g.config.settings(rules)
	return g.set(ctx)
}

func (g *gateway) set(ctx context.Context) error {
	changes, err := g.settings.Apply(ctx, g.want)
	show(g.out, changes)
	return err
}

// plan prints what would be done.
func (g *gateway) plan(ctx context.Context, rules []nat.Rule) error {
	changes, err := g.table.Plan(ctx, rules)
	if err != nil {
		return err
	}
	show(g.out, changes)
	settings, err := g.settings.Plan(ctx, g.config.settings(rules))
	if err != nil {
		return err
	}
	show(g.out, settings)
	return nil
}

// down takes all back, the other way round, also what a killed run had set. It
// goes on after an error.
func (g *gateway) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewell) // the signal has ended the other
	defer cancel()
	return errors.Join(restore(ctx, g.settings, io.Discard), g.table.Clear(ctx))
}

// complain tells of an error after which it goes on.
func complain(err error) { fmt.Fprintln(os.Stderr, "gateway:", err) }

func show[C fmt.Stringer](out io.Writer, changes []C) {
	for _, c := range changes {
		fmt.Fprintln(out, c)
	}
}
