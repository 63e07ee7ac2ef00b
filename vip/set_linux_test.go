package vip

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func (h *host) newSet(m *Manager, name string, s State) *Set {
	h.t.Helper()
	set, err := m.Set(name, s)
	if err != nil {
		h.t.Fatal(err)
	}
	return set
}

func (h *host) acquire(s *Set) {
	h.t.Helper()
	if err := s.Acquire(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) let(s *Set) {
	h.t.Helper()
	if err := s.Release(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func TestSetsComeAndGoByThemselves(t *testing.T) {
	both(t, func(t *testing.T, open func(*host, Config) *Manager) {
		h := newHost(t)
		h.ip("address add 10.1.0.9/24 dev eth0")
		m := open(h, Config{State: want("10.0.0.1@eth0")})
		a := h.newSet(m, "a", want("10.1.0.1/24@eth0", "fd00::1@eth0"))
		b := h.newSet(m, "b", want("10.1.0.2/24@eth0", "10.1.0.3@lo"))
		is := func(what string, eth0 ...string) {
			t.Helper()
			slices.Sort(eth0)
			equal(t, what, h.prefixes("eth0"), eth0)
		}
		h.acquire(a)
		is("a", "10.1.0.9/24", "10.1.0.1/24", "fd00::1/128")
		h.acquire(b)
		if err := m.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		is("all", "10.1.0.9/24", "10.1.0.1/24", "fd00::1/128", "10.1.0.2/24", "10.0.0.1/32")
		h.let(a)
		is("without a", "10.1.0.9/24", "10.1.0.2/24", "10.0.0.1/32")
		h.release(m)
		is("without the Manager's own", "10.1.0.9/24", "10.1.0.2/24")
		h.acquire(a)
		h.acquire(a)
		h.let(b)
		h.let(b)
		is("a alone", "10.1.0.9/24", "10.1.0.1/24", "fd00::1/128")
		equal(t, "lo", h.prefixes("lo"), nil)
		h.apply(m, want("10.0.0.7@eth0"))
		is("a and Apply", "10.1.0.9/24", "10.1.0.1/24", "fd00::1/128", "10.0.0.7/32")
		h.release(m)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
		is("nothing", "10.1.0.9/24")
		if err := a.Acquire(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed Set: %v", err)
		}
		h.newSet(m, "a", want("10.1.0.1@eth0")) // the name and the address are free
	})
}

func TestUpdateTouchesOnlyWhatDiffers(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	s, other := h.newSet(m, "s", want("10.0.0.1@eth0", "10.0.0.2@eth0")), h.newSet(m, "other", want("10.0.0.9@eth0"))
	h.acquire(other)
	if changes, err := s.Update(t.Context(), want("10.0.0.1@eth0", "10.0.0.3@eth0")); len(changes) > 0 || err != nil {
		t.Errorf("not held: %v, %v", changes, err)
	}
	h.acquire(s)
	equal(t, "acquired", h.prefixes("eth0"), []string{"10.0.0.1/32", "10.0.0.3/32", "10.0.0.9/32"})
	changes, err := s.Update(t.Context(), want("10.0.0.1@eth0", "fd00::4@eth0"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "update", commands(changes), []string{"ip address add fd00::4/128 dev eth0 nodad preferred_lft 0", "ip address del 10.0.0.3/32 dev eth0"})
	if err := s.Announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(m.herald.take(time.Now()))
	if _, err := s.Update(t.Context(), want("10.0.0.1@eth0", "10.0.0.5@eth0")); err != nil {
		t.Fatal(err)
	}
	tasks := m.herald.take(time.Now())
	if before != 0 || len(tasks) != 1 || tasks[0].addr.Addr != netip.MustParseAddr("10.0.0.5") {
		t.Errorf("due after the update: %d, %+v: only what was added is announced", before, tasks)
	}
	for name, s := range map[string]State{"taken": want("10.0.0.9@eth0"), "nonsense": want("224.0.0.1@eth0")} {
		if _, err := m.sets["s"].Update(t.Context(), s); !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	equal(t, "after wrong updates", h.prefixes("eth0"), []string{"10.0.0.1/32", "10.0.0.5/32", "10.0.0.9/32"})
}

func TestSetsCannotHaveTheSame(t *testing.T) {
	m, err := New(Config{State: want("10.0.0.1@eth0")})
	if err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddr("10.0.0.5")
	tunnel := State{Tunnels: []Tunnel{{Local: local}}, SuppressARP: []string{"eth0"}}
	for _, ok := range []struct {
		name  string
		state State
	}{{"a", want("10.0.0.2@eth0")}, {"b", want("10.0.0.2@lo")}, {"c", tunnel}, {"d", tunnel}} {
		if _, err := m.Set(ok.name, ok.state); err != nil {
			t.Errorf("%s: %v", ok.name, err)
		}
	}
	for _, bad := range []struct {
		what, name string
		state      State
		is         error
	}{
		{"a name twice", "a", State{}, fs.ErrExist},
		{"no name", "", State{}, fs.ErrInvalid},
		{"never possible", "x", want("224.0.0.1@eth0"), fs.ErrInvalid},
		{"an address of the Manager's own", "x", want("10.0.0.1/24@eth0"), fs.ErrExist},
		{"an address of another", "x", want("10.0.0.2@lo"), fs.ErrExist},
		{"a tunnel that differs", "x", State{Tunnels: []Tunnel{{Local: local, MTU: 1400}}}, fs.ErrExist},
	} {
		var op *OpError
		if _, err := m.Set(bad.name, bad.state); !errors.Is(err, bad.is) || !errors.As(err, &op) {
			t.Errorf("%s: %v", bad.what, err)
		}
	}
	if _, err := m.Apply(t.Context(), want("10.0.0.2@eth0")); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), `the Set "a" has it`) {
		t.Errorf("Apply: %v", err)
	}
	if s, _ := m.Set("e", State{}); s.Acquire(t.Context()) == nil {
		t.Error("the Manager is not open")
	}
	if got := m.Status().Sets; len(got) != 5 || got[0].Name != "a" || got[4].Holding {
		t.Errorf("status %+v", got)
	}
}

func TestWhatSetsShareStaysUntilTheLast(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	shared := func(addr string) State {
		s := want(addr)
		s.SuppressARP = []string{"eth0"}
		return s
	}
	a, b := h.newSet(m, "a", shared("10.0.0.1@lo")), h.newSet(m, "b", shared("10.0.0.2@lo"))
	c := h.newSet(m, "c", want("10.0.0.3@lo"))
	for _, s := range []*Set{a, b, c} {
		h.acquire(s)
	}
	h.let(a)
	h.let(c)
	if got := h.sysctl("eth0", "arp_ignore"); got != "1" {
		t.Errorf("arp_ignore %s while b is held", got)
	}
	equal(t, "lo", h.prefixes("lo"), []string{"10.0.0.2/32"})
	h.let(b)
	if got := h.sysctl("eth0", "arp_ignore"); got != "0" {
		t.Errorf("arp_ignore %s after the last", got)
	}
}

// What a killed program left goes with the first call, whichever Set it is of,
// and what is foreign to one Set does not fail another.
func TestTheFirstCallOfASetSweeps(t *testing.T) {
	h := newHost(t)
	old := h.manager(Config{})
	h.apply(old, want("10.0.0.1@eth0", "10.0.0.2@eth0", "10.0.0.3@lo"))
	old.Close() // as if killed
	h.ip("address add 10.0.0.4/32 dev eth0")
	m := h.manager(Config{})
	a, b := h.newSet(m, "a", want("10.0.0.1@eth0")), h.newSet(m, "b", want("10.0.0.4@eth0"))
	h.let(a)
	equal(t, "eth0", h.prefixes("eth0"), []string{"10.0.0.4/32"})
	equal(t, "lo", h.prefixes("lo"), nil)
	if err := b.Acquire(t.Context()); !errors.Is(err, ErrForeign) {
		t.Errorf("b: %v", err)
	}
	h.acquire(a)
	h.let(b)
	h.let(a)
	equal(t, "at the end", h.prefixes("eth0"), []string{"10.0.0.4/32"})
}

func TestRunWatchesAndReleasesSets(t *testing.T) {
	h := newHost(t)
	m, seen, stop := h.running(Config{})
	a, b := h.newSet(m, "a", want("10.0.0.1@eth0", "fd00::1@eth0")), h.newSet(m, "b", want("10.0.0.2@eth0"))
	h.acquire(a)
	h.acquire(b)
	h.ip("address del 10.0.0.1/32 dev eth0")
	within(t, 15*time.Second, "it is back", func() bool { return seen.has(Back, "10.0.0.1/32 dev eth0") })
	h.let(a)
	h.ip("link set eth0 down")
	h.ip("link set eth0 name lan0")
	h.ip("link set lan0 up")
	if err := stop(); err != nil {
		t.Error(err)
	}
	equal(t, "after Run", h.prefixes("lan0"), nil)
	if b.m.Status().Sets[1].Holding {
		t.Error("b is held after Run")
	}
}

// Hundreds of sets at once, from many goroutines, as when a node takes over all.
func TestManySetsAtOnce(t *testing.T) {
	h := newHost(t)
	m, _, stop := h.running(Config{})
	const n = 100
	var wg sync.WaitGroup
	for i := range n {
		s := h.newSet(m, fmt.Sprint(i), want(fmt.Sprintf("10.0.0.%d@eth0", i+1), fmt.Sprintf("fd00::%x@eth0", i+1)))
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			err := errors.Join(s.Acquire(ctx), s.Announce(ctx))
			if i%2 == 0 {
				err = errors.Join(err, s.Release(ctx), s.Announce(ctx))
			}
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := len(h.prefixes("eth0")); got != n {
		t.Errorf("%d addresses, want %d", got, n)
	}
	if s := m.Status(); s.Announced < 3*n || s.Unannounced > 0 || s.Failed > 0 {
		t.Errorf("announced %d, failed %d", s.Announced, s.Unannounced)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	equal(t, "after Run", h.prefixes("eth0"), nil)
}
