package nat

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// Backend is what writes the rules into the kernel.
type Backend uint8

const (
	// Auto is the backend that has rules of this name already, else NFTables where
	// the kernel has it, else IPTables.
	Auto Backend = iota
	// NFTables writes one table of its own, over netlink, without a program.
	NFTables
	// IPTables is IPTablesNFT or IPTablesLegacy: the one that the other rules of the
	// network namespace are in, or that of the program iptables where there are none.
	IPTables
	// IPTablesNFT writes chains of its own by iptables-nft-restore.
	IPTablesNFT
	// IPTablesLegacy writes chains of its own by iptables-legacy-restore.
	IPTablesLegacy
)

var backendNames = []string{
	Auto: "auto", NFTables: "nftables", IPTables: "iptables", IPTablesNFT: "iptables-nft", IPTablesLegacy: "iptables-legacy",
}

// String is the backend's name in lower case: "nftables", "iptables-legacy".
func (b Backend) String() string {
	if int(b) < len(backendNames) {
		return backendNames[b]
	}
	return "Backend(unknown)"
}

// MarshalText is String.
func (b Backend) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what String writes, as for a flag of a program.
func (b *Backend) UnmarshalText(text []byte) error {
	i := slices.Index(backendNames, string(text))
	if i < 0 {
		return &OpError{Op: "parse", Object: string(text), Err: invalid("unknown backend: use auto, nftables, iptables, iptables-nft or iptables-legacy")}
	}
	*b = Backend(i)
	return nil
}

// Config says whose rules a Table has and where. The zero value is the rules of
// "lvskit" in the caller's network namespace, by the backend that fits.
type Config struct {
	// Name tells the rules of one program from those of others: it is the name of the
	// nftables table, and in capitals the beginning of the names of the chains of
	// iptables. At most 16 lower-case letters, digits and "_", a letter
	// first. Empty: "lvskit".
	Name string

	Backend Backend

	// NetNS is the path of the network namespace. Empty: that of the caller of Open.
	NetNS string

	// Logger takes what is worth knowing. Nil discards it.
	Logger *slog.Logger

	// Interval is how often Run looks at the rules where the kernel does not tell
	// of changes (IPTablesLegacy). Zero: 5 s.
	Interval time.Duration

	// OnRepair is called by Run, in order, when others had removed or changed
	// rules and they are put back: with what was missing or wrong, and the error
	// if they could not be. Nil: they are put back all the same.
	OnRepair func([]Change, error)
}

func (c Config) validate() error {
	switch {
	case int(c.Backend) >= len(backendNames):
		return invalidf("unknown backend %d", c.Backend)
	case c.Interval < 0:
		return invalidf("Interval %v: use a positive one, or zero for 5 s", c.Interval)
	case len(c.Name) > maxTableName || c.Name[0] < 'a' || c.Name[0] > 'z':
		return invalidf("Name %q: use at most %d lower-case letters, digits and \"_\", a letter first", c.Name, maxTableName)
	}
	for _, r := range c.Name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return invalidf("Name %q has %q: use lower-case letters, digits and \"_\"", c.Name, r)
		}
	}
	return nil
}

const maxTableName = 16

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
	b    backend
	want *ruleSet // what the last change has left, for Run; nil before one and after Clear
}

// Open finds the backend. It changes nothing. Errors match fs.ErrInvalid (the
// Config), fs.ErrPermission, fs.ErrNotExist (a program, or the namespace),
// errors.ErrUnsupported (the kernel has no such backend), ErrMixed.
func Open(cfg Config) (*Table, error) {
	if cfg.Name == "" {
		cfg.Name = "lvskit"
	}
	if cfg.Interval == 0 {
		cfg.Interval = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.validate(); err != nil {
		return nil, &OpError{Op: "open", Err: err}
	}
	b, err := openBackend(cfg)
	if err != nil {
		return nil, &OpError{Op: "open", Err: err}
	}
	return &Table{cfg: cfg, log: cfg.Logger, turn: make(chan struct{}, 1), b: b}, nil
}

// Close lets go of the table. The rules stay as they are; Clear removes them.
func (t *Table) Close() error {
	t.turn <- struct{}{}
	defer t.leave()
	return t.b.close()
}

// Backend is the one that was found: NFTables, IPTablesNFT or IPTablesLegacy.
func (t *Table) Backend() Backend { return t.b.kind() }

// List reads the rules that are ours, in the order in which they are tried, with
// their counters. A rule that somebody has changed is left out, or is there as it
// is now.
func (t *Table) List(ctx context.Context) (list []RuleStatus, err error) {
	err = t.do(ctx, "list", func() error {
		s, err := t.b.read(ctx)
		if err == nil {
			list = slices.Clone(s.rules)
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
// it: all of it at once, or nothing (with iptables, each family by itself). Then it
// removes from conntrack the UDP flows that the change made stale; if only that
// fails, it returns the change and an error.
func (t *Table) Apply(ctx context.Context, want []Rule) (changes []Change, err error) {
	err = t.do(ctx, "apply", func() error {
		changes, err = t.apply(ctx, want)
		return err
	})
	return changes, err
}

func (t *Table) apply(ctx context.Context, want []Rule) ([]Change, error) {
	want = normal(want)
	var changes []Change
	err := again(ctx, func() error {
		s, err := t.b.current(ctx)
		if err != nil {
			return err
		}
		if changes, err = plan(s.list(), want); err != nil {
			return err
		}
		if len(changes) > 0 || s.there && !s.sound {
			return t.b.write(ctx, s, changes, want)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.want = newRuleSet(want)
	return changes, t.forget(ctx, changes)
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
// touching them: however many they are, it takes as long. One that is there
// already, or publishes what another does, is an error that matches fs.ErrExist,
// and nothing is added.
func (t *Table) Add(ctx context.Context, rules ...Rule) error {
	return t.change(ctx, "add", AddRule, rules)
}

// Remove removes rules. One that is not there is an error that matches
// fs.ErrNotExist, and nothing is removed.
func (t *Table) Remove(ctx context.Context, rules ...Rule) error {
	return t.change(ctx, "remove", RemoveRule, rules)
}

// Clear removes all rules, and the table or the chains they are in: nothing of this
// name is left. It is no error if there is nothing.
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
		changes, err := plan(have, nil)
		return errors.Join(err, t.forget(ctx, changes))
	})
}

func (t *Table) change(ctx context.Context, name string, op ChangeOp, rules []Rule) error {
	return t.do(ctx, name, func() error {
		var changes []Change
		var have *ruleSet
		err := again(ctx, func() error {
			s, err := t.b.current(ctx)
			if err != nil {
				return err
			}
			if changes, err = s.changes(op, rules); err != nil || len(changes) == 0 {
				return err
			}
			if t.want == nil {
				have = newRuleSet(slices.Clone(s.list()))
			}
			var want []Rule
			if !s.there || !s.sound {
				all := newRuleSet(slices.Clone(s.list()))
				all.apply(changes)
				want = all.rules()
			}
			return t.b.write(ctx, s, changes, want)
		})
		if err != nil || len(changes) == 0 {
			return err
		}
		if t.want == nil {
			t.want = have
		}
		t.want.apply(changes)
		return t.forget(ctx, changes)
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
	err := ctx.Err()
	if err == nil {
		err = f()
	}
	var done *OpError
	if err == nil || errors.As(err, &done) {
		return err
	}
	return &OpError{Op: op, Err: err}
}

func (t *Table) leave() { <-t.turn }

func (t *Table) forget(ctx context.Context, changes []Change) error {
	if err := t.b.forget(ctx, changes); err != nil {
		return &OpError{Op: "remove stale connections", Err: err}
	}
	return nil
}
