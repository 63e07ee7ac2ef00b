package nat

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"golang.org/x/sys/unix"
)

// hold takes the lock of iptables-legacy, in a file of the test's own.
func hold(t *testing.T) (release func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xtables.lock")
	t.Setenv("XTABLES_LOCKFILE", path)
	f, err := os.Create(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	return func() { f.Close() }
}

func TestIPTablesLegacyWaitsForTheLock(t *testing.T) {
	h := labtest.Host(t, labtest.New(t), "gateway")
	table := tableOn(t, h, IPTablesLegacy)
	release := hold(t)
	done := make(chan error, 1)
	go func() {
		_, err := table.Apply(t.Context(), rules(t, web))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	release()
	must(t, <-done)
}

func TestIPTablesLegacyWaitsNoLongerThanTheContext(t *testing.T) {
	h := labtest.Host(t, labtest.New(t), "gateway")
	table := tableOn(t, h, IPTablesLegacy)
	release := hold(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := table.Apply(ctx, rules(t, web)); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	release()
	// Who waited is gone, and writes nothing later.
	_, err := table.Apply(t.Context(), rules(t, dns))
	must(t, err)
	if list, err := table.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("there are %v %v", list, err)
	}
}

func TestIPTablesWithoutRights(t *testing.T) {
	for _, b := range variants {
		need.Program(t, b.String()+"-restore", "setpriv")
		p := findPrograms(b, false)
		must(t, p.err)
		for program, args := range map[string][]string{p.save: {"-t", "nat"}, p.restore: {"-n"}} {
			cmd := exec.Command("setpriv", append([]string{"--bounding-set=-all", "--inh-caps=-all", program}, args...)...)
			cmd.Stdin = strings.NewReader("*nat\nCOMMIT\n")
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Errorf("%s did it", program)
			}
			if e := newProgramError(filepath.Base(program), string(out), false); !errors.Is(e, fs.ErrPermission) || !strings.Contains(e.Error(), "CAP_NET_ADMIN") {
				t.Errorf("%s: %v", program, e)
			}
		}
	}
}

func TestIPTablesNamesTheLineThatIsRefused(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		table := tableOn(t, h, b).b.(*xtables)
		_, err := table.read(t.Context())
		must(t, err)
		_, err = table.commit(t.Context(), 0, func(*xtFamily) string { return "*nat\n-D LVSKIT-PRE -s 10.0.0.0/8 -j ACCEPT\nCOMMIT\n" })
		if err == nil || !strings.Contains(err.Error(), "(-D LVSKIT-PRE -s 10.0.0.0/8 -j ACCEPT)") {
			t.Errorf("got %v", err)
		}
	})
}

func TestIPTablesKeepsCounters(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		l := labtest.New(t)
		s := labtest.Switch(t, l, "net")
		gateway, client := labtest.Host(t, l, "gateway"), labtest.Host(t, l, "client")
		labtest.Connect(t, gateway, s, "12.0.0.1/24")
		labtest.Connect(t, client, s, "12.0.0.12/24")
		server, err := gateway.Listen("tcp", "12.0.0.1:82")
		must(t, err)
		defer server.Close()
		table := tableOn(t, gateway, b)
		redirect := "redirect: ipv4 tcp in eth0 destination *:81 to *:82"
		shift := "redirect: ipv4 tcp destination *:171-173 to *:81-83"
		for i, want := range [][]string{{redirect, shift}, {redirect, a, shift}, {redirect}, append(many(200), redirect), {"redirect: ipv4 tcp destination *:99 to *:1", redirect}} {
			_, err := table.Apply(t.Context(), rules(t, want...))
			must(t, err)
			for _, port := range []string{"81", "172"}[:2-min(i/2, 1)] {
				c, err := client.Dial(t.Context(), "tcp", "12.0.0.1:"+port)
				must(t, err)
				c.Close()
			}
			if i != 2 { // the next one has not read what was counted since
				counted(t, table, rules(t, redirect)[0], uint64(i+1))
			}
		}
	})
}

// many are rules that there were none of.
func many(n int) (out []string) {
	for i := range n {
		out = append(out, "dnat: tcp destination 12.0.0.9:"+Port(uint16(i+1)).String()+" to 10.0.0.1:80")
	}
	return out
}

func counted(t *testing.T, table *Table, r Rule, packets uint64) {
	t.Helper()
	list, err := table.List(t.Context())
	must(t, err)
	for _, s := range list {
		if s.Rule == r && s.Packets != packets {
			t.Errorf("%s counted %d, want %d", r, s.Packets, packets)
		}
	}
}

func TestIPTablesProgramsWithoutVariantInTheirNames(t *testing.T) {
	for says, want := range map[string]struct {
		variant Backend
		err     error
	}{
		"iptables-restore v1.8.9 (nf_tables)": {IPTablesNFT, nil},
		"iptables-restore v1.8.9 (legacy)":    {IPTablesLegacy, nil},
		"iptables-restore v1.6.2":             {IPTablesLegacy, nil},
		"iptables-restore v1.4.21":            {IPTablesLegacy, errors.ErrUnsupported},
	} {
		path := filepath.Join(t.TempDir(), "iptables-restore")
		must(t, os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o700))
		for _, b := range variants {
			wantErr := want.err
			if b != want.variant {
				wantErr = fs.ErrNotExist
			}
			if err := isVariant(path, b); !errors.Is(err, wantErr) || wantErr == nil && err != nil {
				t.Errorf("%s as %s: %v", says, b, err)
			}
		}
	}
}

// Others change our chains between the reading and the writing.
func TestIPTablesBeginsAnewWhenOthersWereFaster(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		table := tableOn(t, h, b)
		_, err := table.Apply(t.Context(), rules(t, web, a, c))
		must(t, err)
		x := table.b.(*xtables)
		s, err := x.read(t.Context())
		must(t, err)
		labtest.Run(t, h, b.String(), "-t", "nat", "-D", "LVSKIT-POST", "1")
		want := rules(t, web, dns, c)
		changes, err := Plan(s.list(), want)
		must(t, err)
		must(t, x.write(t.Context(), s, changes, want))
		if s, err := x.read(t.Context()); err != nil || !s.sound || len(s.rules) != 3 {
			t.Errorf("%+v %v", s, err)
		}
	})
}

// A program that is killed while it waits for the lock writes nothing once it is free.
func TestIPTablesLegacyKilledAtTheLock(t *testing.T) {
	h := labtest.Host(t, labtest.New(t), "gateway")
	table := tableOn(t, h, IPTablesLegacy)
	release := hold(t)
	(&wire{t: t, host: h}).killed(table, rules(t, web), rules(t, dns), time.Second)
	release()
	if list, err := table.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("there are %v %v", list, err)
	}
}
