package health

import (
	"context"
	"errors"
	"log/slog"
)

// Config is the configuration of a Monitor. The zero value is ready to use.
type Config struct {
	// Probes is how many probes may be under way at once; 0 means 1024. A check
	// that has to wait for longer than its timeout is inconclusive.
	Probes int
	// OnChange is told of every change, in order, on a goroutine of its own. A slow one delays
	// no probe, but the changes behind it wait.
	OnChange func(Change)
	// Logger receives changes at level Info and single results at Debug; nil
	// discards them.
	Logger *slog.Logger
}

// Monitor probes any number of checks. It is safe for concurrent use.
type Monitor struct{}

// New checks the configuration. The Monitor does nothing before Run.
func New(cfg Config) (*Monitor, error) { return &Monitor{}, nil }

// Set adds a check, or replaces the one with this ID: what is known of it stays, and
// goes on under the new thresholds and intervals. A first probe of a new check comes
// at a random time within its interval, at most 5 s (TODO helper decides), so that the probes of many are spread.
func (m *Monitor) Set(id string, c Check) error { return errors.ErrUnsupported }

// Remove forgets a check. A probe that is under way is cancelled. No change of it is
// told after Remove has returned... (helper decides)
func (m *Monitor) Remove(id string) {}

// Snapshot is the status of all checks by their ID.
func (m *Monitor) Snapshot() map[string]Status { return nil }

// Status is the status of one check; false if there is none with this ID.
func (m *Monitor) Status(id string) (Status, bool) { return Status{}, false }

// Run probes until ctx ends. Then it cancels all probes, waits for them, and
// delivers the changes that are left.
func (m *Monitor) Run(ctx context.Context) error { return errors.ErrUnsupported }
