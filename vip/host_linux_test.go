package vip

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// host is a network namespace with a veth pair: eth0, and its end eth0p in
// the same namespace or in a peer's.
type host struct {
	t    testing.TB
	path string
	dir  string
}

func newHost(t testing.TB) *host {
	t.Helper()
	need.Root(t)
	need.Program(t, "ip")
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	h := &host{t: t, path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd()), dir: t.TempDir()}
	h.ip("link set lo up")
	h.ip("link add eth0 type veth peer name eth0p")
	h.ip("link set eth0 up")
	h.ip("link set eth0p up")
	return h
}

// run runs a program in the namespace.
func (h *host) run(name string, args ...string) (string, error) {
	var out []byte
	err := netns.Do(h.path, func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	return string(out), err
}

func (h *host) ip(args string) string {
	h.t.Helper()
	out, err := h.run("ip", strings.Fields(args)...)
	if err != nil {
		h.t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return out
}

// addrs are the addresses of an interface as ip prints them, one a line, without
// those that the kernel makes itself: link-local, loopback, and ::IPv4 of a sit
// device.
func (h *host) addrs(iface string) []string {
	h.t.Helper()
	var list []string
	for line := range strings.Lines(h.ip("-o address show dev " + iface)) {
		f := strings.Fields(line)
		if len(f) > 3 && !strings.HasPrefix(f[3], "fe80") && !strings.HasPrefix(f[3], "127.") && !strings.HasPrefix(f[3], "::") {
			list = append(list, strings.Join(f[3:], " "))
		}
	}
	return list
}

func (h *host) prefixes(iface string) []string {
	h.t.Helper()
	list := h.addrs(iface)
	for i := range list {
		list[i], _, _ = strings.Cut(list[i], " ")
	}
	slices.Sort(list)
	return list
}

func (h *host) sysctl(iface, key string) string {
	h.t.Helper()
	var text []byte
	err := netns.Do(h.path, func() (err error) {
		text, err = os.ReadFile("/proc/sys/net/ipv4/conf/" + iface + "/" + key)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func (h *host) set(family, iface, key, value string) {
	h.t.Helper()
	err := netns.Do(h.path, func() error {
		return os.WriteFile("/proc/sys/net/"+family+"/conf/"+iface+"/"+key, []byte(value), 0)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// manager is an open Manager on this host; kill ends it as SIGKILL does.
func (h *host) manager(cfg Config) *Manager {
	h.t.Helper()
	cfg.NetNS, cfg.RunDir = h.path, h.dir
	m, err := New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := m.Open(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { m.Close() })
	return m
}

func (h *host) apply(m *Manager, want State) []string {
	h.t.Helper()
	changes, err := m.Apply(h.t.Context(), want)
	if err != nil {
		h.t.Fatalf("apply: %v", err)
	}
	return commands(changes)
}

func (h *host) release(m *Manager) {
	h.t.Helper()
	if err := m.Release(context.Background()); err != nil {
		h.t.Fatalf("release: %v", err)
	}
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// within waits for a condition of the kernel, which has no better notice.
func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}
