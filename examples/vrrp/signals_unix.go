//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/lvskit/lvskit/vrrp"
)

// signals does what signals ask for, until ctx ends.
func signals(ctx context.Context, router *vrrp.Router, cfg config) error {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(ch)
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-ch:
			var err error
			if s == syscall.SIGUSR1 {
				err = json.NewEncoder(os.Stdout).Encode(router.Status())
			} else if cfg.router.Priority, err = priority(cfg.priorityFile); err == nil {
				err = router.Update(cfg.router)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "vrrp:", err) // and goes on as before
			}
		}
	}
}
