package vip

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

func TestProbeFindsWhoHasTheAddress(t *testing.T) {
	p := newPair(t)
	need.Program(t, "tcpdump")
	a, b := on(t, p.a), on(t, p.b)
	b.ip("address add 10.0.0.100/24 dev eth0")
	b.ip("address add fd00::100/64 dev eth0 nodad")
	dump := labtest.Start(t, p.client, "listening", "tcpdump", "-i", "eth0", "-lnvve", "arp or icmp6")
	m := a.manager(Config{Probe: 400 * time.Millisecond})
	state := want("10.0.0.100@eth0", "fd00::100@eth0", "10.0.0.101@eth0", "fd00::101@eth0", "10.0.0.100@lo")
	start := time.Now()
	_, err := m.Apply(t.Context(), state)
	if !errors.Is(err, ErrConflict) || strings.Count(err.Error(), p.linkB.MAC().String()) != 2 {
		t.Errorf("err = %v, want that %v has both", err, p.linkB.MAC())
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("answers were awaited for %v only", took)
	}
	equal(t, "eth0", a.prefixes("eth0"), []string{"10.0.0.101/32", "10.0.0.11/24", "fd00::101/128", "fd00::11/64"})
	equal(t, "lo", a.prefixes("lo"), []string{"10.0.0.100/32"})
	if s := m.Status().State; len(s.Addresses) != 3 {
		t.Errorf("Run would want %v", s.Addresses)
	}
	for _, text := range []string{
		"Request who-has 10.0.0.101 tell 0.0.0.0",
		":: > ff02::1:ff00:101: [icmp6 sum ok] ICMP6, neighbor solicitation, length 24, who has fd00::101",
	} {
		if err := dump.WaitOutput(t.Context(), text); err != nil {
			t.Errorf("no %q: %v", text, err)
		}
	}
	b.ip("address del 10.0.0.100/24 dev eth0")
	b.ip("address del fd00::100/64 dev eth0")
	if _, err := m.Apply(t.Context(), state); err != nil {
		t.Errorf("nobody has them any more: %v", err)
	}
	if changes, err := m.Apply(t.Context(), state); err != nil || len(changes) > 0 {
		t.Errorf("what is held already: %v, %v", changes, err)
	}
	a.release(m)
}

func TestRunTellsOfAConflictAndDefendsOnce(t *testing.T) {
	p := newPair(t)
	a, b := on(t, p.a), on(t, p.b)
	m, seen, _ := a.running(Config{})
	a.apply(m, want("10.0.0.100@eth0", "fd00::100@eth0", "10.0.0.102@eth0"))
	if err := m.Announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.herald.mu.Lock()
	for _, entry := range m.herald.sets[m.base].entries { // so that what comes is the defence
		entry.due = time.Time{}
	}
	m.herald.mu.Unlock()
	frames := capture(t, p.linkA)
	other := b.manager(Config{State: want("10.0.0.100@eth0", "fd00::100@eth0")})
	if err := other.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	claims := 0
	within(t, 60*time.Second, "both conflicts are told", func() bool {
		claims++ // the first may come before Run listens
		if err := other.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // the pace of the other host
		return seen.has(Conflict, "10.0.0.100/32 dev eth0") && seen.has(Conflict, "fd00::100/128 dev eth0")
	})
	e, _ := seen.find(Conflict, "10.0.0.100/32 dev eth0")
	if e.MAC.String() != p.linkB.MAC().String() || !errors.Is(e.Err, ErrConflict) || e.Address.Addr != pairVIP4 {
		t.Errorf("event %+v", e)
	}
	awaits(t, frames, pairVIP4, 2)
	awaitsAny := func(addr netip.Addr) int {
		n := 0
		for _, f := range frames.Frames() {
			if _, _, ok := announces(f.Data, addr); ok && f.FromHost {
				n++
			}
		}
		return n
	}
	within(t, 30*time.Second, "IPv6 is defended", func() bool { return awaitsAny(pairVIP6) > 0 })
	start := time.Now()
	for range 20 {
		if err := other.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The other's last claim is answered, if at all, before ours that follows it.
	if err := m.Announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaits(t, frames, netip.MustParseAddr("10.0.0.102"), 2)
	if n := awaitsAny(pairVIP4); time.Since(start) < 5*time.Second && n != 4 { // a defence, and the Announce
		t.Errorf("%d frames, want 4: defended more than once in 10 s", n)
	}
	if s := m.Status(); s.Conflicts != 2 && time.Since(start) < 5*time.Second {
		t.Errorf("%d conflicts told, want 2", s.Conflicts)
	}
	a.release(m)
	b.release(other)
}

// Peers with the same virtual MAC are no conflict, and our own interfaces are
// none: the parent hears what the macvlan says.
func TestOwnClaimsAreNoConflict(t *testing.T) {
	needMacvlan(t)
	p := newPair(t)
	a, b := on(t, p.a), on(t, p.b)
	state := virtualState()
	m, seen, _ := a.running(Config{})
	peer := b.manager(Config{State: state})
	state.Addresses = slices.Concat(state.Addresses, want("10.0.0.103@eth0").Addresses)
	a.apply(m, state)
	if err := errors.Join(m.Announce(t.Context()), peer.Acquire(t.Context()), peer.Announce(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.release(peer)
	// A claim that is one, to know that all before it was heard.
	other := b.manager(Config{Mark: 87, State: want("10.0.0.103@eth0")})
	within(t, 60*time.Second, "a true conflict", func() bool {
		if err := errors.Join(other.Acquire(t.Context()), other.Announce(t.Context())); err != nil {
			t.Fatal(err)
		}
		return seen.has(Conflict, "10.0.0.103/32 dev eth0")
	})
	for _, object := range []string{"10.0.0.100", "fd00::100"} {
		if e, ok := seen.find(Conflict, object); ok {
			t.Errorf("told: %v", e)
		}
	}
	a.release(m)
	b.release(other)
}
