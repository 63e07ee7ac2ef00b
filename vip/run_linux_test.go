package vip

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// events collects what a Manager tells.
type events struct {
	mu   sync.Mutex
	list []Event
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) find(kind EventKind, object string) (Event, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.list, func(ev Event) bool { return ev.Kind == kind && strings.HasPrefix(ev.Object, object) })
	if i < 0 {
		return Event{}, false
	}
	return e.list[i], true
}

func (e *events) has(kind EventKind, object string) bool {
	_, ok := e.find(kind, object)
	return ok
}

// running is a Manager in Run; stop ends it and returns what Run did.
func (h *host) running(cfg Config) (m *Manager, seen *events, stop func() error) {
	h.t.Helper()
	seen = &events{}
	cfg.OnEvent = seen.add
	m = h.manager(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	h.t.Cleanup(func() { stop() })
	return m, seen, stop
}

func (h *host) hasAddrs(iface string, prefixes ...string) func() bool {
	return func() bool { return slices.Equal(h.prefixes(iface), prefixes) }
}

func TestRunPutsBackWhatOthersDelete(t *testing.T) {
	h := newHost(t)
	m, seen, stop := h.running(Config{})
	h.apply(m, want("10.0.0.1@eth0", "fd00::1@eth0"))
	h.ip("address flush dev eth0 scope global")
	within(t, 10*time.Second, "both are back", h.hasAddrs("eth0", "10.0.0.1/32", "fd00::1/128"))
	within(t, 10*time.Second, "events", func() bool { return seen.has(Back, "10.0.0.1/32 dev eth0") && seen.has(Back, "fd00::1/128 dev eth0") })
	if !seen.has(Lost, "10.0.0.1/32 dev eth0") {
		t.Error("the loss was not told")
	}
	start := time.Now()
	h.ip("address del 10.0.0.1/32 dev eth0")
	within(t, 15*time.Second, "back a second time", h.hasAddrs("eth0", "10.0.0.1/32", "fd00::1/128"))
	if took := time.Since(start); took < putBackFirst/2 {
		t.Errorf("put back after %v: two programs would fight at full speed", took)
	}
	if s := m.Status(); s.Lost < 3 || s.PutBack < 3 || !s.Holding {
		t.Errorf("status %+v", s)
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	equal(t, "after Run", h.prefixes("eth0"), nil)
}

func TestRunReportsAndGivesWay(t *testing.T) {
	h := newHost(t)
	m, seen, _ := h.running(Config{OnLoss: Report})
	h.apply(m, want("10.0.0.1@eth0"))
	h.ip("address del 10.0.0.1/32 dev eth0")
	within(t, 10*time.Second, "the event", func() bool { return seen.has(Lost, "10.0.0.1/32 dev eth0") })
	within(t, 10*time.Second, "the end of that look", func() bool {
		return slices.Equal(m.Status().Missing, []string{"10.0.0.1/32 dev eth0"})
	})
	equal(t, "eth0", h.prefixes("eth0"), nil)
}

func TestRunWithAnInterfaceThatGoesDown(t *testing.T) {
	h := newHost(t)
	m, _, _ := h.running(Config{})
	h.apply(m, want("10.0.0.1@eth0", "fd00::1@eth0"))
	h.ip("link set eth0 down") // the kernel flushes IPv6
	h.ip("link set eth0 up")
	within(t, 15*time.Second, "both are there", h.hasAddrs("eth0", "10.0.0.1/32", "fd00::1/128"))
	if line := strings.Join(h.addrs("eth0"), " "); strings.Contains(line, "tentative") || !strings.Contains(line, "nodad") {
		t.Errorf("eth0: %s", line)
	}
	// The kernel lists an address before it takes packets for it.
	within(t, 10*time.Second, "fd00::1 is local", func() bool {
		return strings.Contains(h.ip("-6 route show table local"), "fd00::1 dev eth0")
	})
}

func TestRunWithAnInterfaceThatGoesAwayAndComesBack(t *testing.T) {
	h := newHost(t)
	m, seen, stop := h.running(Config{})
	h.apply(m, want("10.0.0.1@eth0"))
	h.ip("link del eth0")
	// The kernel takes the address away before the interface: a loss without a
	// reason may be told first.
	within(t, 10*time.Second, "the loss and its reason", func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return slices.ContainsFunc(seen.list, func(e Event) bool {
			return e.Kind == Lost && e.Object == "10.0.0.1/32 dev eth0" && e.Address.Interface == "eth0" && errors.Is(e.Err, fs.ErrNotExist)
		})
	})
	h.ip("link add eth0 type veth peer name eth0p")
	within(t, 15*time.Second, "the address", h.hasAddrs("eth0", "10.0.0.1/32"))
	h.ip("link set eth0 name lan0")
	h.ip("address del 10.0.0.1/32 dev lan0")
	within(t, 15*time.Second, "the address on the renamed interface", h.hasAddrs("lan0", "10.0.0.1/32"))
	if err := stop(); err != nil {
		t.Error(err)
	}
	equal(t, "after Run", h.prefixes("lan0"), nil)
}

func TestRunKeepsTheAddressOfARenamedInterface(t *testing.T) {
	h := newHost(t)
	m, seen, _ := h.running(Config{})
	h.apply(m, want("10.0.0.1@eth0"))
	h.ip("link set eth0 down")
	h.ip("link set eth0 name lan0")
	h.ip("link set eth0p down")
	h.ip("link set eth0p name eth0") // another one takes the name
	h.ip("address del 10.0.0.1/32 dev lan0")
	within(t, 15*time.Second, "it is back on the same device", h.hasAddrs("lan0", "10.0.0.1/32"))
	equal(t, "the device that has the name now", h.prefixes("eth0"), nil)
	if _, gone := seen.find(Failed, ""); gone {
		t.Errorf("failures: %v", seen.list)
	}
}

func TestRunTellsWhoTookTheAddress(t *testing.T) {
	h := newHost(t)
	m, seen, _ := h.running(Config{OnLoss: Report})
	h.apply(m, want("10.0.0.1@eth0"))
	h.ip("address del 10.0.0.1/32 dev eth0")
	h.ip("address add 10.0.0.1/32 dev eth0")
	within(t, 10*time.Second, "the event", func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return slices.ContainsFunc(seen.list, func(e Event) bool { return e.Kind == Lost && errors.Is(e.Err, ErrForeign) })
	})
}

func TestRunWatchesSettings(t *testing.T) {
	h := newHost(t)
	m, _, _ := h.running(Config{})
	h.apply(m, DirectRouting([]netip.Addr{clusterVIP}, "eth0"))
	h.set("ipv4", "eth0", "arp_ignore", "0")
	h.ip("link set eth0 txqueuelen 999") // settings give no notice, the half minute is too long for a test
	within(t, 15*time.Second, "arp_ignore is back", func() bool { return h.sysctl("eth0", "arp_ignore") == "1" })
	h.release(m)
	if got := h.sysctl("eth0", "arp_ignore"); got != "0" {
		t.Errorf("restored to %s, want the first original 0", got)
	}
}

func TestRunSurvivesAnOverrun(t *testing.T) {
	h := newHost(t)
	seen := &events{}
	m := h.manager(Config{OnEvent: seen.add})
	m.room = 1
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	h.apply(m, want("10.0.0.1@eth0"))
	h.ip("address del 10.0.0.1/32 dev eth0")
	within(t, 15*time.Second, "the first return shows that Run listens", func() bool { return seen.has(Back, "10.0.0.1") })
	var batch strings.Builder
	for i := range 2000 {
		batch.WriteString("address add 10.1." + strconv.Itoa(i/250) + "." + strconv.Itoa(i%250+1) + "/32 dev eth0\n")
	}
	batch.WriteString("address del 10.0.0.1/32 dev eth0\n")
	file := h.dir + "/batch"
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h.ip("-batch " + file)
	within(t, 10*time.Second, "the address is back", func() bool { return slices.Contains(h.prefixes("eth0"), "10.0.0.1/32") })
	if m.Status().Overruns == 0 {
		t.Error("no overrun: the test shows nothing")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRunLeavesNothingBehind(t *testing.T) {
	h := newHost(t)
	threads := func() int { return runtime.NumGoroutine() }
	before, files := threads(), descriptors(t)
	for range 3 {
		m, _, stop := h.running(Config{})
		h.apply(m, DirectRouting([]netip.Addr{clusterVIP}, "eth0"))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	within(t, 15*time.Second, "goroutines have ended", func() bool { return threads() <= before })
	if now := descriptors(t); now != files {
		t.Errorf("%d descriptors, %d before", now, files)
	}
	equal(t, "lo", h.prefixes("lo"), nil)
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestKeepLeavesAllForASuccessor(t *testing.T) {
	h := newHost(t)
	m, _, stop := h.running(Config{Keep: true})
	h.apply(m, want("10.0.0.1@eth0"))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	m.Close()
	equal(t, "eth0", h.prefixes("eth0"), []string{"10.0.0.1/32"})
	equal(t, "the successor's changes", h.apply(h.manager(Config{}), want("10.0.0.1@eth0")), []string{})
}

// binder is what package vrrp asks for, less the announcement.
type binder interface {
	Acquire(context.Context) error
	Release(context.Context) error
}

func TestManagerIsABinder(t *testing.T) {
	h := newHost(t)
	var b binder = h.manager(Config{State: want("10.0.0.1@eth0")})
	for range 2 {
		if err := b.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, "acquired", h.prefixes("eth0"), []string{"10.0.0.1/32"})
		if err := b.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, "released", h.prefixes("eth0"), nil)
	}
}

func TestConcurrentUse(t *testing.T) {
	h := newHost(t)
	m, _, _ := h.running(Config{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				switch i {
				case 0:
					m.Apply(t.Context(), want("10.0.0.1@eth0", "fd00::1@eth0"))
				case 1:
					m.Release(t.Context())
				case 2:
					m.Sweep(t.Context())
				case 3:
					m.Status()
					m.Read(t.Context())
				}
			}
		})
	}
	wg.Wait()
	h.apply(m, want("10.0.0.1@eth0"))
	equal(t, "in the end", h.prefixes("eth0"), []string{"10.0.0.1/32"})
}
