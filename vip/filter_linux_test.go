package vip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// needTables is for tests of filters.
func needTables(t *testing.T) {
	t.Helper()
	h := newHost(t)
	need.Program(t, "nft")
	if out, err := h.run("nft", "add", "table", "inet", "probe"); err != nil {
		need.Module(t, "nf_tables")
		t.Skipf("no nftables: %s", out)
	}
}

func (h *host) nft(args ...string) string {
	h.t.Helper()
	out, err := h.run("nft", args...)
	if err != nil {
		h.t.Fatalf("nft %s: %v: %s", args, err, out)
	}
	return out
}

// filters are the tables of nftables.
func (h *host) filters() (names []string) {
	for line := range strings.Lines(h.nft("list", "tables")) {
		names = append(names, strings.TrimSpace(line))
	}
	return names
}

// foreignFilter is somebody's table that accepts everything, before ours.
func (h *host) foreignFilter() {
	h.nft("add table inet other; add chain inet other input { type filter hook input priority -600; policy accept; }; add rule inet other input accept")
}

const ourTable = "table inet lvskit-vip-86"

// routed is a client, a router that has virtual addresses, and a server behind it.
type routed struct{ client, router, server *lab.Host }

func newRouted(t *testing.T) routed {
	t.Helper()
	l := labtest.New(t)
	lan, far := labtest.Switch(t, l, "lan"), labtest.Switch(t, l, "far")
	r := routed{labtest.Host(t, l, "client"), labtest.Host(t, l, "router"), labtest.Host(t, l, "server")}
	labtest.Connect(t, r.client, lan, "10.0.0.134/24", "fd00::134/64")
	labtest.Connect(t, r.router, lan, "10.0.0.131/24", "fd00::131/64")
	labtest.Connect(t, r.router, far, "10.1.0.131/24", "fd01::131/64")
	labtest.Connect(t, r.server, far, "10.1.0.9/24", "fd01::9/64")
	if err := r.router.Forward(); err != nil {
		t.Fatal(err)
	}
	for _, route := range []struct {
		on       *lab.Host
		dst, via string
	}{
		{r.client, "10.1.0.0/24", "10.0.0.100"},
		{r.client, "fd01::/64", "fd00::100"},
		{r.server, "10.0.0.0/24", "10.1.0.131"},
		{r.server, "fd00::/64", "fd01::131"},
	} {
		if err := route.on.Route(netip.MustParsePrefix(route.dst), netip.MustParseAddr(route.via)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// answers tells who of these answers the client's pings, and takes its TCP
// connections if it should.
func (r routed) answers(t *testing.T, addrs ...string) (list []string) {
	t.Helper()
	for _, a := range addrs {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := r.client.Run(ctx, "ping", "-n", "-c1", "-W1", a); err == nil {
			list = append(list, "ping "+a)
		}
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
		if conn, err := r.client.Dial(ctx, "tcp", net.JoinHostPort(a, "7000")); err == nil {
			list = append(list, "tcp "+a)
			conn.Close()
		}
		cancel()
	}
	return list
}

func all(addrs ...string) (list []string) {
	for _, a := range addrs {
		list = append(list, "ping "+a, "tcp "+a)
	}
	return list
}

func serve(t *testing.T, h *lab.Host) {
	t.Helper()
	l, err := h.Listen("tcp", "[::]:7000")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

func TestPacketsAreRefused(t *testing.T) {
	needTables(t)
	need.Program(t, "ping")
	r := newRouted(t)
	h, client := on(t, r.router), on(t, r.client)
	serve(t, r.router)
	serve(t, r.server)
	h.foreignFilter()
	foreign := h.nft("list", "ruleset")
	vips, others := []string{"10.0.0.100", "fd00::100"}, []string{"10.0.0.131", "fd00::131", "10.1.0.9", "fd01::9"}
	ask := slices.Concat(vips, others)
	m := h.manager(Config{})
	s := h.newSet(m, "s", want("10.0.0.100@eth0", "fd00::100@eth0"))
	h.acquire(s)
	equal(t, "accepted", r.answers(t, ask...), all(ask...))
	equal(t, "tables", h.filters(), []string{"table inet other"})

	changes, err := s.Update(t.Context(), refusing("10.0.0.100@eth0", "fd00::100@eth0"))
	if err != nil || len(changes) != 1 {
		t.Fatalf("update: %v, %v", changes, err)
	}
	for _, addr := range vips {
		client.ip("neigh flush to " + addr)
	}
	equal(t, "refused", r.answers(t, ask...), all(others...))
	for _, addr := range vips {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if conn, err := r.router.Dial(ctx, "tcp", net.JoinHostPort(addr, "7000")); err == nil {
			t.Errorf("%s takes connections of its own machine", addr)
			conn.Close()
		}
		cancel()
		if got := client.ip("neigh show " + addr); !strings.Contains(got, "lladdr") {
			t.Errorf("neighbour entry: %q", got)
		}
		// A probe of an entry goes to the address alone, not to a group.
		mac := strings.Fields(client.ip("neigh show " + addr))[4]
		client.ip("neigh replace " + addr + " lladdr " + mac + " dev eth0 nud probe")
		within(t, 10*time.Second, addr+" is reachable", func() bool { return strings.Contains(client.ip("neigh show "+addr), "REACHABLE") })
	}
	equal(t, "tables", h.filters(), []string{"table inet other", ourTable})
	t.Log(h.nft("list", ourTable[:5], "inet", "lvskit-vip-86"))

	other := newHost(t) // what Plan says is what a person can type
	if out, err := other.run("sh", "-c", changes[0].String()); err != nil {
		t.Fatalf("%s: %v: %s", changes[0], err, out)
	}
	list := []string{"-n", "list", "table", "inet", "lvskit-vip-86"}
	if typed, made := other.nft(list...), h.nft(list...); typed != made {
		t.Errorf("typed:\n%s\nmade:\n%s", typed, made)
	}

	h.let(s)
	if got := h.nft("list", "ruleset"); got != foreign {
		t.Errorf("after release:\n%s\nwant:\n%s", got, foreign)
	}
	equal(t, "eth0", h.prefixes("eth0"), []string{"10.0.0.131/24", "fd00::131/64"})
}

func TestOneSetRefusesAndOneDoesNot(t *testing.T) {
	needTables(t)
	need.Program(t, "ping")
	r := newRouted(t)
	h := on(t, r.router)
	serve(t, r.router)
	m := h.manager(Config{})
	a, b := h.newSet(m, "a", refusing("10.0.0.100@eth0", "fd00::100@eth0")), h.newSet(m, "b", want("10.0.0.101@eth0", "fd00::101@eth0"))
	c := h.newSet(m, "c", refusing("10.0.0.102@eth0"))
	if _, err := m.Set("d", want("10.0.0.100@lo")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("accepted and not: %v", err)
	}
	ask := []string{"10.0.0.100", "fd00::100", "10.0.0.101", "fd00::101"}
	h.acquire(b)
	equal(t, "no table yet", h.filters(), nil)
	h.acquire(a)
	h.acquire(c)
	equal(t, "all", r.answers(t, ask...), all(ask[2:]...))
	h.let(b)
	h.acquire(b)
	h.let(c)
	equal(t, "again", r.answers(t, ask...), all(ask[2:]...))
	have, err := m.Read(t.Context())
	if err != nil || have.Filter == nil || !have.Filter.Whole || fmt.Sprint(have.Filter.Addresses) != "[10.0.0.100 fd00::100]" {
		t.Errorf("read: %+v, %v", have.Filter, err)
	}
	h.let(a)
	equal(t, "tables", h.filters(), nil)
	if m.filters {
		t.Error("it still looks for a table")
	}
	equal(t, "b", h.prefixes("eth0"), []string{"10.0.0.101/32", "10.0.0.131/24", "fd00::101/128", "fd00::131/64"})
}

func TestTheTableOfAKilledProgramGoes(t *testing.T) {
	needTables(t)
	for name, end := range map[string]func(*host, *Manager){
		"sweep": func(h *host, m *Manager) {
			if _, err := m.Sweep(h.t.Context()); err != nil {
				h.t.Error(err)
			}
		},
		"apply":   func(h *host, m *Manager) { h.apply(m, State{}) },
		"a Set":   func(h *host, m *Manager) { h.let(h.newSet(m, "s", State{})) },
		"release": func(h *host, m *Manager) { h.release(m) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.foreignFilter()
			old := h.manager(Config{})
			h.apply(old, refusing("10.0.0.1@eth0", "fd00::1@eth0"))
			equal(t, "again", h.apply(old, refusing("10.0.0.1@eth0", "fd00::1@eth0")), []string{})
			old.Close() // as if killed
			equal(t, "left", h.filters(), []string{"table inet other", ourTable})
			end(h, h.manager(Config{}))
			equal(t, "tables", h.filters(), []string{"table inet other"})
			equal(t, "eth0", h.prefixes("eth0"), nil)
		})
	}
}

func TestRunPutsTheTableBack(t *testing.T) {
	needTables(t)
	h := newHost(t)
	m, seen, stop := h.running(Config{})
	h.apply(m, refusing("10.0.0.1@eth0"))
	for _, how := range []string{"delete table inet lvskit-vip-86", "flush chain inet lvskit-vip-86 input", "flush set inet lvskit-vip-86 v4"} {
		h.nft(how)
		notify(m.wake) // nftables gives no notice: else half a minute
		within(t, 5*time.Second, "put back after "+how, func() bool {
			have, err := m.Read(t.Context())
			return err == nil && have.Filter != nil && have.Filter.Whole && len(have.Filter.Addresses) == 1
		})
	}
	if !seen.has(Lost, ourTable) || !seen.has(Back, ourTable) {
		t.Error("it was not told")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	equal(t, "tables", h.filters(), nil)
	equal(t, "eth0", h.prefixes("eth0"), nil)
}

// More addresses than one message holds.
func TestThousandsAreRefused(t *testing.T) {
	needTables(t)
	h := newHost(t)
	m := h.manager(Config{})
	var s State
	for i := range 2500 {
		s.Addresses = append(s.Addresses, Address{Interface: "lo", Addr: netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)})})
	}
	f := Filter{Addresses: refused(State{Addresses: s.Addresses, NoAccept: true})}
	if err := m.session(func(k *kernel) error {
		start := time.Now()
		err := k.setFilter(f, false)
		k.tables = tablesWanted
		t.Logf("set in %v", time.Since(start))
		start = time.Now()
		k.readFilter()
		t.Logf("read in %v", time.Since(start))
		if k.have.Filter == nil || !k.have.Filter.Whole || !slices.Equal(k.have.Filter.Addresses, f.Addresses) {
			t.Errorf("read: %v", k.have.unfiltered)
		}
		start = time.Now()
		err = errors.Join(err, k.setFilter(Filter{Addresses: f.Addresses[:4]}, true))
		t.Logf("4 set in %v", time.Since(start))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	h.release(m)
	equal(t, "tables", h.filters(), nil)
}

// No address comes without its filter: here the table has another owner, a
// process that lives.
func TestNoAddressWithoutItsTable(t *testing.T) {
	needTables(t)
	h := newHost(t)
	owner := exec.Command("nft", "-i")
	in, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := netns.Do(h.path, owner.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); owner.Wait() })
	if _, err := io.WriteString(in, "add table inet lvskit-vip-86 { flags owner; }\n"); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the table is there", func() bool { return slices.Equal(h.filters(), []string{ourTable}) })
	if !strings.Contains(h.nft("list", "ruleset"), "flags owner") {
		t.Skip("tables have no owners here")
	}
	m := h.manager(Config{})
	s, other := h.newSet(m, "s", refusing("10.0.0.1@eth0", "fd00::1@eth0")), h.newSet(m, "other", want("10.0.0.2@eth0"))
	var op *OpError
	if err := s.Acquire(t.Context()); !errors.Is(err, fs.ErrPermission) || !errors.As(err, &op) || op.Object != ourTable {
		t.Errorf("acquire: %v", err)
	}
	h.acquire(other)
	equal(t, "eth0", h.prefixes("eth0"), []string{"10.0.0.2/32"})
	in.Close()
	within(t, 5*time.Second, "the table goes with its owner", func() bool { return len(h.filters()) == 0 })
	h.acquire(s)
	equal(t, "eth0 at last", h.prefixes("eth0"), []string{"10.0.0.1/32", "10.0.0.2/32", "fd00::1/128"})
	equal(t, "tables", h.filters(), []string{ourTable})
}

func TestWordsOfNftables(t *testing.T) {
	for errno, is := range map[syscall.Errno]error{
		unix.EINVAL: errors.ErrUnsupported, unix.EOPNOTSUPP: errors.ErrUnsupported, unix.EPROTONOSUPPORT: errors.ErrUnsupported,
		unix.EAFNOSUPPORT: errors.ErrUnsupported, unix.EPERM: fs.ErrPermission, unix.ENOENT: fs.ErrNotExist,
	} {
		if err := nftWords(fmt.Errorf("netlink: %w", errno)); !errors.Is(err, is) || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}
