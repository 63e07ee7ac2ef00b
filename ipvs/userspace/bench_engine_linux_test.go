package userspace

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/ipvs"
)

// What the child "engine" reads: its services in JSON, and how many descriptors
// it may have, if not as many as its parent.
const (
	servicesEnv    = "LVSKIT_USERSPACE_SERVICES"
	descriptorsEnv = "LVSKIT_USERSPACE_DESCRIPTORS"
)

func init() { children["engine"] = engineMain }

// engineMain is an Engine in a process of its own. On SIGUSR1 it prints how many
// connections it has.
func engineMain() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := engineRun(ctx); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func engineRun(ctx context.Context) error {
	var services []ipvs.Service
	if err := json.Unmarshal([]byte(os.Getenv(servicesEnv)), &services); err != nil {
		return err
	}
	if n, err := strconv.ParseUint(os.Getenv(descriptorsEnv), 10, 32); err == nil {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	e, err := Open(Config{})
	if err != nil {
		return err
	}
	defer e.Close()
	if _, err := e.Apply(ctx, services, ipvs.Policy{}); err != nil {
		return err
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	fmt.Println("ready")
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	for n := 1; ; n++ {
		select {
		case <-asked:
			fmt.Printf("report %d: %s\n", n, census(ctx, e))
		case err := <-done:
			return err
		}
	}
}

// census is how many connections there are, by three counts.
func census(ctx context.Context, e *Engine) string {
	active, inactive, listed := 0, 0, 0
	services, err := e.Services(ctx)
	if err != nil {
		return err.Error()
	}
	for _, s := range services {
		for _, d := range s.Destinations {
			active, inactive = active+d.Active, inactive+d.Inactive
		}
	}
	for _, err := range e.Connections(ctx) {
		if err != nil {
			return err.Error()
		}
		listed++
	}
	return fmt.Sprintf("active %d, inactive %d, listed %d", active, inactive, listed)
}
