package nat

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeKernel has rules, and tells who listens of changes. Several Tables may share one.
type fakeKernel struct {
	mu       sync.Mutex // guards all
	there    bool
	unsound  bool
	rules    []Rule
	tell     map[int]func()
	watchers int
	reads    int
	writes   int
	clears   int
	closes   int
	asked    []*stale // of conntrack

	// What the next calls answer, one each; nil is success.
	readErrs, writeErrs, forgetErrs, watchErrs []error
	flows                                      int                   // what forget says
	meanwhile                                  func(*fakeKernel)     // called by the next write, before it
	slow                                       time.Duration         // what a read takes
	during                                     func(op string) error // called by each call without the lock
}

// others changes something as other programs do.
func (k *fakeKernel) others(f func(*fakeKernel)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(k)
	k.changed()
}

func (k *fakeKernel) changed() {
	for _, tell := range k.tell {
		tell()
	}
}

func (k *fakeKernel) has() []Rule {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.rules)
}

// get reads something of it.
func get[T any](k *fakeKernel, f func(*fakeKernel) T) T {
	k.mu.Lock()
	defer k.mu.Unlock()
	return f(k)
}

func next(errs *[]error) (err error) {
	if len(*errs) > 0 {
		err, *errs = (*errs)[0], (*errs)[1:]
	}
	return err
}

// fake is a backend in a fakeKernel.
type fake struct{ k *fakeKernel }

func (b fake) kind() Backend { return NFTables }

func (b fake) enter(op string) error {
	if during := get(b.k, func(k *fakeKernel) func(string) error { return k.during }); during != nil {
		return during(op)
	}
	return nil
}

func (b fake) read(ctx context.Context) (*state, error) {
	if err := b.enter("read"); err != nil {
		return nil, err
	}
	time.Sleep(get(b.k, func(k *fakeKernel) time.Duration { return k.slow }))
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	b.k.reads++
	if err := next(&b.k.readErrs); err != nil {
		return nil, err
	}
	s := &state{there: b.k.there, sound: b.k.there && !b.k.unsound}
	for _, r := range b.k.rules {
		s.rules = append(s.rules, RuleStatus{Rule: r})
	}
	return s, ctx.Err()
}

func (b fake) current(ctx context.Context) (*state, error) { return b.read(ctx) }

func (b fake) write(ctx context.Context, have *state, changes []Change, want []Rule) error {
	if err := b.enter("write"); err != nil {
		return err
	}
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	b.k.writes++
	if f := b.k.meanwhile; f != nil {
		b.k.meanwhile = nil
		f(b.k)
		return errChanged
	}
	if err := next(&b.k.writeErrs); err != nil {
		return err
	}
	if want == nil {
		set := newRuleSet(slices.Clone(have.list()))
		set.apply(changes)
		want = set.rules()
	}
	b.k.there, b.k.unsound, b.k.rules = true, false, slices.Clone(want)
	b.k.changed()
	return ctx.Err()
}

func (b fake) clear(context.Context) error {
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	b.k.clears++
	if err := next(&b.k.writeErrs); err != nil {
		return err
	}
	b.k.there, b.k.rules = false, nil
	b.k.changed()
	return nil
}

func (b fake) watch(ctx context.Context, tell func()) error {
	b.k.mu.Lock()
	if err := next(&b.k.watchErrs); err != nil {
		b.k.mu.Unlock()
		return err
	}
	b.k.watchers++
	id := b.k.watchers
	if b.k.tell == nil {
		b.k.tell = map[int]func(){}
	}
	b.k.tell[id] = tell
	b.k.mu.Unlock()
	tell()
	<-ctx.Done()
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	delete(b.k.tell, id)
	return ctx.Err()
}

func (b fake) forget(ctx context.Context, s *stale) (int, error) {
	if err := b.enter("forget"); err != nil {
		return 0, err
	}
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	b.k.asked = append(b.k.asked, s)
	return b.k.flows, next(&b.k.forgetErrs)
}

func (b fake) close() error {
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	b.k.closes++
	return nil
}

// fakeTable is a Table over a kernel that is none.
func fakeTable(t testing.TB, k *fakeKernel, cfg Config) *Table {
	t.Helper()
	cfg, err := cfg.complete()
	fine(t, err)
	return newTable(cfg, fake{k})
}
