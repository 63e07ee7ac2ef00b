// Command vrrp runs one virtual router: it takes part in the election on an
// interface, holds the virtual addresses while it is Active, announces them, and
// runs a command at each transition. Run it on two or more machines with the
// same -vrid and -vip, beside keepalived or another VRRP router if you like.
//
// SIGTERM or SIGINT hands over and leaves nothing behind. SIGUSR1 prints the
// status as JSON. SIGUSR2 reads the priority anew from -priority-file. Started
// again after SIGKILL it first removes what it left. It needs CAP_NET_RAW and
// CAP_NET_ADMIN. See README.md for topologies.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

func main() {
	cfg, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "vrrp:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "vrrp:", err)
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
	cfg.router.OnEvent = func(e vrrp.Event) { cfg.event(ctx, e) }
	router, err := vrrp.New(cfg.router)
	if err != nil {
		return err
	}

	// The addresses are watched for as long as the router runs, and a little longer.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched, end := context.WithCancel(context.Background())
	defer end()
	var running sync.WaitGroup
	var watchErr, signalErr error
	running.Go(func() {
		defer cancel()
		watchErr = addresses.Run(watched)
	})
	running.Go(func() {
		defer cancel()
		signalErr = signals(ctx, router, cfg)
	})
	err = router.Run(ctx) // ends with priority 0 and without addresses
	cancel()
	end()
	running.Wait()
	return errors.Join(err, watchErr, signalErr)
}

// event prints an event, and runs the command of -notify at a transition: one
// after the other and in order.
func (c config) event(ctx context.Context, e vrrp.Event) {
	fmt.Println(e)
	if e.Kind != vrrp.Transition || c.notify == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.notify, e.To.String(), e.Router, strconv.Itoa(int(e.Priority)))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "vrrp: %s: %v\n", c.notify, err)
	}
}
