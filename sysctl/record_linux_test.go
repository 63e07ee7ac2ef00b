package sysctl

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// killEnv makes this program the one that is killed, after so many changes.
const killEnv = "LVSKIT_SYSCTL_KILL_AFTER"

func TestMain(m *testing.M) {
	n, err := strconv.Atoi(os.Getenv(killEnv))
	if err != nil {
		labtest.Main(m) // in a user namespace where the tests are not root
		return
	}
	if err := applyAndDie(n, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// applyAndDie works in the network namespace at descriptor 3.
func applyAndDie(n int, record string) error {
	logger := at(n, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} })
	c, err := New(Config{NetNS: "/proc/self/fd/3", Record: record, Logger: logger})
	if err != nil {
		return err
	}
	_, err = c.Apply(context.Background(), killSettings())
	return err
}

func killSettings() []Setting {
	s := DirectorNAT(Director{Interfaces: []string{"default", "eth0", "eth1"}, IPv4: true, IPv6: true})
	return append(s, RealServerDR("eth0", "eth1")...)
}

// A program that is killed after any of its changes leaves a record by which
// the next run puts all back.
func TestRestoreAfterKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const enough = 20
	for n := 1; ; n++ {
		ns := newNS(t, [2]string{"eth0", "eth1"})
		poke(t, ns, "conf/eth0/forwarding=1 conf/all/rp_filter=1")
		file := filepath.Join(t.TempDir(), "record.json")
		c := newClient(t, Config{NetNS: ns, Record: file})
		keys := append(Keys(killSettings()), IPv4Conf("default", "forwarding"), IPv4Conf("all", "accept_redirects"), IPv6Conf("eth0", "forwarding"))
		before := peek(t, c, keys...)

		fd, err := os.Open(ns)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, file)
		cmd.Env = append(os.Environ(), killEnv+"="+strconv.Itoa(n))
		cmd.ExtraFiles = []*os.File{fd}
		out, err := cmd.CombinedOutput()
		fd.Close()
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if err == nil && n > 5 {
			return // it was through with it before it came to be killed
		}
		if !status.Signaled() || n > enough {
			t.Fatalf("change %d: %v\n%s", n, err, out)
		}
		if n%2 == 0 { // the next run first does the same again
			apply(t, c, killSettings())
		}
		changes, err := c.Recorded(t.Context())
		if err != nil || len(changes) < 1 {
			t.Fatalf("change %d: recorded %v, error %v", n, changes, err)
		}
		_, left := restore(t, c, changes)
		if diff := cmp.Diff(before, peek(t, c, keys...), cmp.AllowUnexported(Key{})); diff != "" || len(left) != 0 {
			t.Errorf("killed after change %d: left %v\n%s", n, left, diff)
		}
		if files, err := os.ReadDir(filepath.Dir(file)); err != nil || len(files) != 0 {
			t.Errorf("killed after change %d: left files %v, error %v", n, files, err)
		}
	}
}

func TestRecordIsOfOneNamespace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record.json")
	one := newClient(t, Config{NetNS: newNS(t), Record: file})
	apply(t, one, StandbyProxy())
	two := newClient(t, Config{NetNS: newNS(t), Record: file})
	if changes, err := two.Recorded(t.Context()); err != nil || len(changes) != 0 {
		t.Errorf("in another namespace: %v, error %v", changes, err)
	}
	changes, err := one.Recorded(t.Context())
	if err != nil || len(changes) == 0 || changes[0].Reason == "" {
		t.Errorf("in its own: %v, error %v", changes, err)
	}
}

func TestRecordThatCannotBeWrittenStopsApply(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{NetNS: newNS(t), Record: filepath.Join(file, "record.json")})
	if changes, err := c.Apply(t.Context(), StandbyProxy()); err == nil || len(changes) != 0 {
		t.Errorf("got %v, error %v, want an error before any change", changes, err)
	}
	expect(t, c, "net/ipv4/ip_nonlocal_bind=0")
}

func TestFailedApplyRecordsWhatItDid(t *testing.T) {
	ns := newNS(t, [2]string{"eth0", "eth1"})
	ctx, cancel := context.WithCancel(t.Context())
	c := newClient(t, Config{NetNS: ns, Record: filepath.Join(t.TempDir(), "record.json"), Logger: at(1, cancel)})
	changes, err := c.Apply(ctx, RealServerDR("eth0"))
	if err == nil {
		t.Fatal("the context was cancelled, and there was no error")
	}
	recorded, err := c.Recorded(t.Context())
	if err != nil || commands(recorded) != commands(changes) || len(recorded) != 1 {
		t.Errorf("recorded %s, error %v, changed %s", commands(recorded), err, commands(changes))
	}
}
