package vip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultMark is the ownership mark unless a Config says otherwise. The kernel
// uses 1 to 3 itself, keepalived 18.
const DefaultMark = 86

// defaultRunDir is where notes are kept.
const defaultRunDir = "/run/lvskit"

// Config is the configuration of a Manager. The zero Config is usable.
type Config struct {
	// NetNS is the path of the network namespace, such as /run/netns/blue;
	// empty is the caller's.
	NetNS string
	// Logger gets losses (Warn) and returns (Info); nil discards.
	Logger *slog.Logger
	// Mark says which addresses and devices are ours: the kernel's IFA_PROTO
	// value, 4 to 255. Zero is DefaultMark. What carries it and is not wanted
	// is removed, so programs that share a network namespace need different ones.
	Mark uint8
	// RunDir is the folder for what the kernel cannot remember; empty is
	// /run/lvskit. It is made when needed and should be writable by the program's
	// user alone. What another boot has left there is void.
	RunDir string
	// State is what Acquire makes, until an Apply replaces it.
	State State
	// OnLoss says what Run does when something held goes missing; zero is PutBack.
	OnLoss LossPolicy
	// OnEvent, if set, is told what Run notices, in order, on one goroutine that
	// Run owns and waits for. It may take its time, and may call the Manager.
	OnEvent func(Event)
	// Keep leaves everything in place when Run ends, for a successor with the same
	// Mark to take over without a gap.
	Keep bool
}

// A Manager holds addresses, and what belongs to them, in one network
// namespace. Its methods may be called at the same time by several goroutines.
type Manager struct {
	cfg    Config
	legacy bool // as on a kernel without IFA_PROTO; tests set it
	room   int  // bytes for notices of the kernel

	wake   chan struct{} // something is held anew
	wanted atomic.Pointer[map[netip.Addr]bool]

	mu      sync.Mutex // guards all below, and the kernel's state while it changes
	lock    io.Closer  // the mark; nil if not open
	running bool
	index   map[string]int // of interfaces, when the state was applied
	status  Status
}

// New makes a Manager and touches nothing. The error matches fs.ErrInvalid.
func New(cfg Config) (*Manager, error) {
	if cfg.Mark == 0 {
		cfg.Mark = DefaultMark
	}
	if cfg.Mark < 4 {
		return nil, opError("new", "", invalid("mark %d is the kernel's own", cfg.Mark))
	}
	if cfg.OnLoss > Report {
		return nil, opError("new", "", invalid("%v", cfg.OnLoss))
	}
	if err := cfg.State.Validate(); err != nil {
		return nil, err
	}
	if cfg.RunDir == "" {
		cfg.RunDir = defaultRunDir
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{cfg: cfg, room: 1 << 20, wake: make(chan struct{}, 1)}
	m.status.State = cfg.State.normal()
	return m, nil
}

// Open takes the mark. A mark that a living Manager has in this network
// namespace is ErrInUse; a killed one has none.
func (m *Manager) Open() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lock != nil {
		return nil
	}
	lock, err := takeMark(m.cfg)
	if err != nil {
		return opError("open", fmt.Sprintf("mark %d", m.cfg.Mark), err)
	}
	m.lock = lock
	return nil
}

// Close gives the mark back. It leaves what is held in place: Release removes.
// It may be called again.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lock == nil {
		return nil
	}
	err := m.lock.Close()
	m.lock = nil
	return opError("close", "", err)
}

// Read returns what the kernel has now. With Plan it makes a dry run. It needs no
// Open.
func (m *Manager) Read(ctx context.Context) (Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return Snapshot{}, opError("read", "", err)
	}
	var have Snapshot
	err := m.session(func(k *kernel) (err error) {
		have, err = k.read()
		return err
	})
	return have, opError("read", "", err)
}

// Apply makes want what this Manager holds, and the kernel have exactly that: it
// reads the kernel, adds what is missing, removes and restores what is ours and
// not wanted, whoever made it, and reads again. It returns what it changed. An
// error, which may join several, does not undo the rest, and what could not be
// had stays wanted: Run tries again.
func (m *Manager) Apply(ctx context.Context, want State) ([]Change, error) {
	if err := want.Validate(); err != nil {
		return nil, err
	}
	return m.hold(ctx, "apply", true, want.normal())
}

// Acquire applies the State that the last Apply or the Config has.
func (m *Manager) Acquire(ctx context.Context) error {
	m.mu.Lock()
	want := m.status.State
	m.mu.Unlock()
	_, err := m.hold(ctx, "acquire", true, want)
	return err
}

// Release removes and restores everything of ours. The State stays for the next
// Acquire.
func (m *Manager) Release(ctx context.Context) error {
	_, err := m.hold(ctx, "release", false, State{})
	return err
}

// Sweep removes and restores what is ours and not held now, such as what a
// killed predecessor left, and returns what it changed.
func (m *Manager) Sweep(ctx context.Context) ([]Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	want := State{}
	if m.status.Holding {
		want = m.status.State
	}
	var done []Change
	err := m.change(ctx, "sweep", func(k *kernel) error {
		have, err := k.read()
		if err != nil {
			return err
		}
		changes, _ := plan(have, follow(want, m.index, have.Links))
		_, removing := split(changes)
		done, err = carryOut(ctx, k, removing)
		return err
	})
	return done, err
}

// Status is what the Manager holds and has seen.
func (m *Manager) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status
	s.State = s.State.normal()
	s.Missing = slices.Clone(s.Missing)
	return s
}

// hold carries out a plan for the wanted state and remembers it.
func (m *Manager) hold(ctx context.Context, op string, holding bool, want State) (done []Change, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	err = m.change(ctx, op, func(k *kernel) error {
		m.remember(holding, want)
		have, err := k.read()
		if err != nil {
			return err
		}
		m.index = indexes(have.Links)
		changes, errs := plan(have, want)
		done, err = carryOut(ctx, k, changes)
		err = errors.Join(join(errs), err, m.verify(k, done))
		m.index = indexes(k.have.Links)
		return err
	})
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return done, err
}

func (m *Manager) remember(holding bool, want State) {
	m.status.Holding = holding
	m.index = map[string]int{}
	ips := map[netip.Addr]bool{}
	if holding {
		m.status.State = want
		for _, a := range want.Addresses {
			ips[a.Addr] = true
		}
	}
	m.wanted.Store(&ips)
}

func indexes(links []Link) map[string]int {
	index := make(map[string]int, len(links))
	for _, link := range links {
		index[link.Name] = link.Index
	}
	return index
}

// concerns tells whether a notice about an IP may matter.
func (m *Manager) concerns(addr netip.Addr) bool {
	ips := m.wanted.Load()
	return ips != nil && (*ips)[addr]
}

// change calls fn with the kernel, if the Manager is open.
func (m *Manager) change(ctx context.Context, op string, fn func(*kernel) error) error {
	if err := ctx.Err(); err != nil {
		return opError(op, "", err)
	}
	if m.lock == nil {
		return opError(op, "", fmt.Errorf("the Manager is not open: %w", net.ErrClosed))
	}
	return opError(op, "", m.session(func(k *kernel) error {
		err := fn(k)
		return errors.Join(err, k.save())
	}))
}

// carryOut makes the changes in their order, and goes on after a failure except
// where a change depends on the failed one. It returns those that were made.
func carryOut(ctx context.Context, k *kernel, changes []Change) (done []Change, err error) {
	var errs []error
	var loud, stuck bool // ARP would answer; an address of ours is still there
	failed := map[string]bool{}
	for _, c := range changes {
		if err := ctx.Err(); err != nil {
			errs = append(errs, opError(c.Op.String(), c.object(), err))
			break
		}
		if c.Op == AddAddress && (loud || failed[c.device()]) || c.Op == RestoreSetting && stuck {
			continue
		}
		if err := k.execute(c); err != nil {
			errs = append(errs, opError(c.Op.String(), c.object(), err))
			loud = loud || c.Op == ChangeSetting && quietValue[c.Setting.Key] != 0
			stuck = stuck || c.Op == DeleteAddress
			failed[c.device()] = failed[c.device()] || c.Op == AddTunnel
			continue
		}
		done = append(done, c)
	}
	return done, errors.Join(errs...)
}

// verify reads back that the added addresses are there, carry the mark, and
// take packets.
func (m *Manager) verify(k *kernel, done []Change) error {
	if len(done) == 0 {
		return nil
	}
	if err := k.table(); err != nil {
		return err
	}
	have := k.have
	var errs []error
	for _, c := range done {
		if c.Op != AddAddress {
			continue
		}
		i := slices.IndexFunc(have.Addresses, func(p Present) bool { return p.key() == c.Address.key() && p.Bits == c.Address.Bits })
		switch {
		case i < 0:
			errs = append(errs, opError("verify", c.Address.object(), errors.New("somebody removed it at once")))
		case !have.Addresses[i].Ours:
			err := fmt.Errorf("the kernel does not keep our mark: %w", errors.ErrUnsupported)
			errs = append(errs, opError("verify", c.Address.object(), errors.Join(err, k.deleteAddress(c.Address))))
		}
	}
	return errors.Join(append(errs, k.settle(done))...)
}
