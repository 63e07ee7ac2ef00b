package vip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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
	// State is what Acquire makes, until an Apply replaces it. See also Manager.Set.
	State State
	// OnLoss says what Run does when something held goes missing; zero is PutBack.
	OnLoss LossPolicy
	// OnEvent, if set, is told what Run notices, in order, on one goroutine that
	// Run owns and waits for. It may take its time, and may call the Manager.
	OnEvent func(Event)
	// Refresh, unless zero, is the time after which what has been announced is
	// announced again, for as long as it is held: at least a second. It mends what
	// neighbours forget or others claim.
	Refresh time.Duration
	// Probe, unless zero, makes Apply ask the neighbours, before it adds an address,
	// whether one of them has it, and wait that long for answers: 200 ms finds a
	// host on a local network. See Apply. Acquire never asks, so that a takeover
	// waits for nothing.
	Probe time.Duration
	// OnConflict says what Run does when another host claims an announced address;
	// zero is Defend.
	OnConflict ConflictPolicy
	// Keep leaves everything in place when Run ends, for a successor with the same
	// Mark to take over without a gap: its first call removes what that call does
	// not want, so with Sets there is a gap for all but the first.
	Keep bool
}

// A Manager holds addresses, and what belongs to them, in one network
// namespace, and announces them. Its methods may be called at the same time by several goroutines.
type Manager struct {
	cfg    Config
	legacy bool // as on a kernel without IFA_PROTO; tests set it
	room   int  // bytes for notices of the kernel

	wake   chan struct{} // something is held anew
	wanted atomic.Pointer[map[netip.Addr]bool]
	herald *herald
	lines  lines

	mu      sync.Mutex // guards all below, and the kernel's state while it changes
	lock    io.Closer  // the mark; nil if not open
	running bool
	base    *Set            // what the Manager's own methods are about
	sets    map[string]*Set // the others by name
	swept   bool            // what a predecessor left has gone
	proved  bool            // the kernel has been seen to keep our mark
	filters bool            // a table of ours may be there, or is to be
	status  Status          // of it, State, Holding and Sets are made when asked for
}

// New makes a Manager and touches nothing. The error matches fs.ErrInvalid.
func New(cfg Config) (*Manager, error) {
	if cfg.Mark == 0 {
		cfg.Mark = DefaultMark
	}
	if cfg.Mark < 4 {
		return nil, opError("new", "", invalid("mark %d is the kernel's own", cfg.Mark))
	}
	if cfg.OnConflict > Ignore {
		return nil, opError("new", "", invalid("%v", cfg.OnConflict))
	}
	if cfg.Probe < 0 || cfg.Probe > time.Minute {
		return nil, opError("new", "", invalid("Probe %v is not within 0 and a minute", cfg.Probe))
	}
	if cfg.OnLoss > Report {
		return nil, opError("new", "", invalid("%v", cfg.OnLoss))
	}
	if cfg.Refresh < 0 || cfg.Refresh > 0 && cfg.Refresh < time.Second {
		return nil, opError("new", "", invalid("Refresh %v is below a second", cfg.Refresh))
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
	m := &Manager{
		cfg: cfg, room: 1 << 20, wake: make(chan struct{}, 1),
		herald: newHerald(cfg.Refresh), sets: map[string]*Set{},
	}
	m.base = &Set{m: m, state: cfg.State.normal()}
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
	m.lock, m.swept, m.filters = lock, false, true
	m.herald.open()
	m.lines.use(true)
	return nil
}

// Close gives the mark back and ends the announcements. It leaves what is held in
// place: Release removes. It may be called again.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lock == nil {
		return nil
	}
	err := errors.Join(m.lock.Close(), m.herald.close())
	m.lines.use(false)
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
		k.tables = tablesIfThere
		have, err = k.read()
		return err
	})
	return have, opError("read", "", err)
}

// Apply makes want what this Manager holds, and the kernel have exactly that and
// what its Sets hold: it reads the kernel, adds what is missing, removes and
// restores what is ours and not wanted, whoever made it, and reads again. It
// returns what it changed. An error, which may join several, does not undo the
// rest, and what could not be had stays wanted: Run tries again. What is in a Set
// is an error that matches fs.ErrExist.
//
// With Config.Probe, an address that another host has is neither added nor wanted
// any more: the error matches ErrConflict and names that host's MAC. To have it all
// the same, Acquire.
func (m *Manager) Apply(ctx context.Context, want State) ([]Change, error) {
	if err := want.Validate(); err != nil {
		return nil, err
	}
	want = want.normal()
	var taken error
	if m.cfg.Probe > 0 {
		var err error
		if want, taken, err = m.vacant(ctx, want); err != nil {
			return nil, opError("apply", "", err)
		}
	}
	done, err := m.hold(ctx, "apply", m.base, func(*Set) (bool, State) { return true, want })
	return done, errors.Join(taken, err)
}

// vacant is a normal state without the addresses to be added that other hosts
// have; taken tells which. Nothing is locked meanwhile: a takeover may go on.
func (m *Manager) vacant(ctx context.Context, want State) (free State, taken, err error) {
	have, err := m.Read(ctx)
	if err != nil {
		return want, nil, err
	}
	changes, _ := plan(have, want, claims{})
	var added []Address
	for _, c := range changes {
		if c.Op == AddAddress {
			added = append(added, c.Address)
		}
	}
	found, err := m.probe(ctx, have, added)
	if err != nil {
		return want, nil, err
	}
	var errs []error
	free = want
	free.Addresses = nil
	for _, a := range want.Addresses {
		if c, ok := found[a.key()]; ok {
			errs = append(errs, opError("probe", a.object(), c.err()))
			continue
		}
		free.Addresses = append(free.Addresses, a)
	}
	return free, errors.Join(errs...), nil
}

// Acquire applies the State that the last Apply or the Config has.
func (m *Manager) Acquire(ctx context.Context) error { return m.base.Acquire(ctx) }

// Release removes and restores everything of ours except what Sets hold. The
// State stays for the next Acquire. It ends the announcements at once.
func (m *Manager) Release(ctx context.Context) error { return m.base.Release(ctx) }

// Announce tells the neighbours where the held addresses are: those of Apply or
// Acquire; a Set announces its own. It sends what is due at once, and returns when
// that has left, or an error that joins an OpError for each address whose
// announcement could not be sent. Run repeats it after 1.1, 2.2 and 5 s, and then
// every Config.Refresh; without Run nothing is repeated.
//
// IPv4 is announced by gratuitous ARP, a request and an answer; IPv6 by an
// unsolicited neighbour advertisement. Each sending reads the MAC of the device
// anew. At most 32 frames leave in a millisecond, all Sets together, and twice as
// many in a burst.
//
// What has no neighbours to tell is passed over: addresses on lo, on tunnels, on
// dummy devices. For an interface that is down or without carrier, the schedule
// begins when it is ready. What Run puts back is announced again, and so is all on
// an interface whose MAC has changed or whose carrier has come back. What is not
// held, or has been taken away, is never announced: with nothing held, Announce
// does nothing and returns nil.
func (m *Manager) Announce(ctx context.Context) error { return m.base.Announce(ctx) }

// Sweep removes and restores what is ours and not held now, such as what a
// killed predecessor left, and returns what it changed. The first Apply, Acquire
// or Release after Open does the same, also that of a Set.
func (m *Manager) Sweep(ctx context.Context) ([]Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var done []Change
	err := m.change(ctx, "sweep", m.session, func(k *kernel) error {
		have, err := k.read()
		if err != nil {
			return err
		}
		held := m.held(nil, have.Links)
		changes, _ := plan(have, union(held), claims{own: refused(held...)})
		_, removing := split(changes)
		done, err = carryOut(ctx, k, removing)
		m.filtered(have, done)
		return err
	})
	m.swept = m.swept || err == nil
	return done, err
}

// Status is what the Manager holds and has seen.
func (m *Manager) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status
	s.Holding, s.State = m.base.held, m.base.state.normal()
	for _, name := range slices.Sorted(maps.Keys(m.sets)) {
		s.Sets = append(s.Sets, SetStatus{name, m.sets[name].held, m.sets[name].state.normal()})
	}
	s.Missing = slices.Clone(s.Missing)
	s.Announced, s.Unannounced = m.herald.counts()
	return s
}
