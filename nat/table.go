package nat

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
)

// RuleStatus is a rule as the kernel has it.
type RuleStatus struct {
	Rule
	// Packets and Bytes count the first packets of the connections that the rule
	// rewrote: the others do not come to it. A rule of several published
	// ports has their sum.
	Packets, Bytes uint64
}

// Table is the rules of one program in the kernel of one network namespace. It takes
// CAP_NET_ADMIN there. It is safe for concurrent use; calls follow each other.
type Table struct {
	cfg  Config
	log  *slog.Logger
	turn chan struct{} // holds the turn of the call that is under way

	mixed error // why nothing may be changed but by Clear, or nil

	// Of the call that has the turn.
	b       backend
	want    *ruleSet // what the last change has left, for Run; nil before one and after Clear
	running bool
	unsure  bool     // flows may be there from before this Table: a program that was killed
	owed    []Change // whose stale flows are still there

	closed chan struct{} // closed in turn

	mu    sync.Mutex // guards stats
	stats Stats
}

// Stats count what a Table has done since Open.
type Stats struct {
	// Repairs are how often Run has put back what others had changed, and
	// FailedRepairs how often it could not.
	Repairs, FailedRepairs uint64
	// ForgottenFlows are those that were removed from conntrack because a change
	// had made them stale.
	ForgottenFlows uint64
}

// Stats are the counters of this Table. They are never waited for.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

func (t *Table) count(f func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.stats)
}

// Open finds the backend. It changes nothing. Errors match fs.ErrInvalid (the
// Config), fs.ErrPermission, fs.ErrNotExist (a program, or the namespace),
// errors.ErrUnsupported (the kernel has no such backend), ErrMixed.
func Open(cfg Config) (*Table, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, &OpError{Op: "open", Err: err}
	}
	b, mixed, err := openBackend(cfg)
	if err != nil {
		return nil, &OpError{Op: "open", Err: err}
	}
	t := newTable(cfg, b)
	t.mixed = mixed
	return t, nil
}

func newTable(cfg Config, b backend) *Table {
	return &Table{cfg: cfg, log: cfg.Logger, turn: make(chan struct{}, 1), b: b, unsure: true, closed: make(chan struct{})}
}

// Close lets go of the table; a Run that is under way returns. The rules stay as
// they are: Clear removes them. It waits for calls that are under way. All calls
// after it, but for another Close, are errors that match net.ErrClosed.
func (t *Table) Close() error {
	t.turn <- struct{}{}
	defer t.leave()
	select {
	case <-t.closed:
		return nil
	default:
		close(t.closed)
	}
	if t.running {
		return nil // Run closes the backend
	}
	return t.b.close()
}

// Name is Config.Name.
func (t *Table) Name() string { return t.cfg.Name }

// Backend is the one that was found: NFTables, IPTablesNFT or IPTablesLegacy.
func (t *Table) Backend() Backend { return t.b.kind() }

// List reads the rules that are ours, in the order in which they are tried, with
// their counters: exact rules by their addresses and ports. A rule that somebody has
// changed is left out, or is there as it is now.
func (t *Table) List(ctx context.Context) (list []RuleStatus, err error) {
	err = t.do(ctx, "list", func() error {
		s, err := t.b.read(ctx)
		if err == nil {
			list = slices.Clone(s.rules)
			sortExact(list)
		}
		return err
	})
	return list, err
}

// Plan is the dry run of Apply. What others have spoiled in our table without
// changing a rule is not in it, though Apply mends that too.
func (t *Table) Plan(ctx context.Context, want []Rule) (changes []Change, err error) {
	err = t.do(ctx, "plan", func() error {
		s, err := t.b.read(ctx)
		if err == nil {
			changes, err = plan(s.list(), normal(want))
		}
		return err
	})
	return changes, err
}

// Apply makes the rules those that are wanted by the smallest change, and returns
// it: all of it at once, or nothing (with iptables, each family by itself).
//
// Then it removes from conntrack the flows that the change made stale: a client of
// UDP that keeps its socket goes to the new server with its next packet, or to
// none. Connections of TCP and SCTP stay with theirs, and so do flows that the
// change does not concern. If only that fails, Apply returns the change and an
// error, and the next call tries again; where the kernel can not do it, the error
// matches errors.ErrUnsupported. The first Apply of a Table looks at the flows of all
// rules, in case a program that was killed has left some.
func (t *Table) Apply(ctx context.Context, want []Rule) (changes []Change, err error) {
	err = t.do(ctx, "apply", func() error {
		if t.mixed != nil {
			return t.mixed
		}
		changes, err = t.apply(ctx, want)
		return err
	})
	return changes, err
}

func (t *Table) apply(ctx context.Context, want []Rule) ([]Change, error) {
	set, err := checked(normal(want))
	if err != nil {
		return nil, err
	}
	var changes []Change
	err = again(ctx, func() error {
		s, err := t.b.current(ctx)
		if err != nil {
			return err
		}
		changes, s.goal = planSet(s.list(), set), set
		if len(changes) > 0 || s.there && !s.sound {
			return t.b.write(ctx, s, changes, set.rules())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.want = set.clone()
	return changes, t.forget(ctx, changes, t.unsure)
}

// attempts is how often an operation begins anew because others have written between its
// reading and its writing.
const attempts = 20

func again(ctx context.Context, f func() error) (err error) {
	for range attempts {
		if err = f(); !errors.Is(err, errChanged) || ctx.Err() != nil {
			break
		}
	}
	return err
}

// Add adds rules to those that are there, behind those that are tried in order, without
// touching them. With NFTables, to add an exact rule takes as long however many there
// are; for rules that are tried in order the kernel goes through all of their chain,
// and with iptables the program through all of the table. One that is there already,
// or publishes what another does, is an error that matches fs.ErrExist, and nothing
// is added.
func (t *Table) Add(ctx context.Context, rules ...Rule) error {
	return t.change(ctx, "add", AddRule, rules)
}

// Remove removes rules. One that is not there is an error that matches
// fs.ErrNotExist, and nothing is removed; Run does not put it back any more.
func (t *Table) Remove(ctx context.Context, rules ...Rule) error {
	return t.change(ctx, "remove", RemoveRule, rules)
}

// Clear removes all rules, and the table or the chains they are in: nothing of this
// name is left. It is no error if there is nothing.
//
// Where nothing else in the network namespace looks at connections (as a firewall with
// "ct state" does), the kernel then stops tracking them, and running ones that were
// translated break off. With iptables, so they do when the last rule is removed.
func (t *Table) Clear(ctx context.Context) error {
	return t.do(ctx, "clear", func() error {
		var have []Rule
		err := again(ctx, func() error {
			s, err := t.b.read(ctx)
			if err != nil {
				return err
			}
			if have = s.list(); s.there {
				return t.b.clear(ctx)
			}
			return nil
		})
		if err != nil {
			return err
		}
		t.want = nil
		return t.forget(ctx, planSet(have, newRuleSet(nil)), false)
	})
}

func (t *Table) change(ctx context.Context, name string, op ChangeOp, rules []Rule) error {
	return t.do(ctx, name, func() error {
		if t.mixed != nil {
			return t.mixed
		}
		var changes []Change
		var have *ruleSet
		err := again(ctx, func() error {
			s, err := t.b.current(ctx)
			if err != nil {
				return err
			}
			if changes, err = s.changes(op, rules); err != nil || len(changes) == 0 {
				t.unwant(s, op, rules)
				return err
			}
			if t.want == nil {
				have = s.ruleSet().clone()
			}
			var want []Rule
			if !s.there || !s.sound {
				all := s.ruleSet().clone()
				all.apply(changes)
				want, s.goal = all.rules(), all
			}
			return t.b.write(ctx, s, changes, want)
		})
		if err != nil || len(changes) == 0 {
			return err
		}
		if t.want == nil {
			t.want = have
		}
		t.want.prefer(changes)
		return t.forget(ctx, changes, false)
	})
}

// do does an operation in its turn.
func (t *Table) do(ctx context.Context, op string, f func() error) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return &OpError{Op: op, Err: ctx.Err()}
	}
	defer t.leave()
	var err error
	select {
	case <-t.closed:
		err = net.ErrClosed
	default:
		if err = ctx.Err(); err == nil {
			err = f()
		}
	}
	var done *OpError
	if err == nil || errors.As(err, &done) {
		return err
	}
	return &OpError{Op: op, Err: err}
}

func (t *Table) leave() { <-t.turn }

// forget removes from conntrack the flows that changes have made stale, and those
// that could not be removed the last time. With all, those of any rule.
func (t *Table) forget(ctx context.Context, changes []Change, all bool) error {
	if len(t.owed) > 0 {
		changes = slices.Concat(t.owed, changes)
	}
	want := func() []Rule { return nil }
	if t.want != nil {
		want = t.want.rules
	}
	var err error
	if s := newStale(changes, want, all); s != nil {
		var n int
		n, err = t.b.forget(ctx, s)
		t.count(func(s *Stats) { s.ForgottenFlows += uint64(n) })
	}
	if err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.owed, t.unsure = nil, t.unsure && !all
	} else {
		t.owed = slices.Clone(changes)
	}
	if err != nil {
		return &OpError{Op: "remove stale connections", Err: err}
	}
	return nil
}

// unwant drops what Remove was to remove and others have taken away already, so that
// Run does not put it back.
func (t *Table) unwant(s *state, op ChangeOp, rules []Rule) {
	if op != RemoveRule || t.want == nil {
		return
	}
	var gone []Change
	for _, r := range normal(rules) {
		if !s.ruleSet().has(&r) {
			gone = append(gone, Change{RemoveRule, r})
		}
	}
	t.want.apply(gone)
}
