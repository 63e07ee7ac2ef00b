//go:build !linux

package vip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

var errSystem = fmt.Errorf("only Linux can: %w", errors.ErrUnsupported)

// kernel has no methods that work on this system.
type kernel struct {
	have   Snapshot
	tables tables
}

func (m *Manager) session(func(*kernel) error) error { return errSystem }

func (m *Manager) quick(func(*kernel) error) error { return errSystem }

type lines struct{}

func (*lines) use(bool) {}

func (k *kernel) read() (Snapshot, error) { return k.have, errSystem }

func (k *kernel) readSettings() error { return errSystem }

func (k *kernel) readMade([]Change) error { return errSystem }

func (k *kernel) table() error { return errSystem }

func (k *kernel) readFilter() {}

func (k *kernel) readSome([]string, ...int) error { return errSystem }

func (k *kernel) execute(Change) error { return errSystem }

func (k *kernel) addressesAtOnce(changes []Change) []error {
	return slices.Repeat([]error{errSystem}, len(changes))
}

func (k *kernel) deleteLinks(names []string) []error {
	return slices.Repeat([]error{errSystem}, len(names))
}

func (k *kernel) deleteAddress(Address) error { return errSystem }

func (k *kernel) settle([]Change) error { return errSystem }

func (k *kernel) save() error { return errSystem }

func takeMark(Config) (io.Closer, error) { return nil, errSystem }

type notices struct{}

func listen(string, int) (*notices, error) { return nil, errSystem }

func (*notices) read(func(netip.Addr) bool, func(), func()) error { return errSystem }

func (*notices) close() {}

func (m *Manager) send(context.Context, []task) error { return errSystem }

func (m *Manager) watchConflicts(context.Context, *mailbox) {}

func (m *Manager) probe(context.Context, Snapshot, []Address) (map[addressKey]claimed, error) {
	return nil, errSystem
}

type sender struct{}

func (*sender) close() error { return nil }
