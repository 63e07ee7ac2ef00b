package health_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lvskit/lvskit/health"
)

// A server dies and returns. Changes come in order, on a goroutine of their own.
func ExampleMonitor() {
	var dead atomic.Bool
	server := health.ProberFunc(func(context.Context) (health.Report, error) {
		if dead.Load() {
			return health.Report{}, errors.New("it does not answer")
		}
		return health.Report{}, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	m, err := health.New(health.Config{OnChange: func(c health.Change) {
		fmt.Printf("%s: %v -> %v\n", c.ID, c.From, c.To)
		switch {
		case c.To == health.Down:
			dead.Store(false)
		case c.From == health.Unknown:
			dead.Store(true)
		default:
			cancel()
		}
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := m.Set("10.0.0.1:80", health.Check{Prober: server, Interval: 10 * time.Millisecond}); err != nil {
		fmt.Println(err)
		return
	}
	if err := m.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 10.0.0.1:80: unknown -> up
	// 10.0.0.1:80: up -> down
	// 10.0.0.1:80: down -> up
}

// What is wrong with a Check is told when it is set, and nothing is changed.
func ExampleMonitor_Set() {
	m, _ := health.New(health.Config{})
	err := m.Set("10.0.0.1:80", health.Check{Interval: 2 * time.Second})
	fmt.Println(err)
	// Output: health: set 10.0.0.1:80: invalid argument: it has no Prober
}

// A real server that is in two pools is probed once, at the shorter interval; each
// pool has its own thresholds.
func ExampleCheck_key() {
	web := health.ProberFunc(func(context.Context) (health.Report, error) { return health.Report{}, nil })
	ctx, cancel := context.WithCancel(context.Background())
	m, _ := health.New(health.Config{OnChange: func(c health.Change) {
		if c.ID == "video 10.0.0.1:80" {
			cancel()
		}
	}})
	for _, pool := range []string{"shop", "video"} {
		err := m.Set(pool+" 10.0.0.1:80", health.Check{Prober: web, Key: "tcp 10.0.0.1:80", Interval: time.Second})
		if err != nil {
			fmt.Println(err)
		}
	}
	if err := m.Run(ctx); err != nil {
		fmt.Println(err)
	}
	s, ok := m.Status("shop 10.0.0.1:80")
	fmt.Println(s.State, s.Stats.Passed, ok)
	// Output: up 1 true
}
