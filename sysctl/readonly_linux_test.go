package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/need"
)

// readOnly calls fn on a thread with a network namespace, which has eth0 and
// eth1, and a read-only /proc/sys of its own, as a container has them.
func readOnly(t *testing.T, prepare, fn func()) {
	t.Helper()
	need.Root(t)
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with its namespaces
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
			done <- err
			return
		}
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth1"}); err != nil {
			done <- err
			return
		}
		prepare()
		for _, m := range []struct {
			source, target string
			flags          uintptr
		}{
			{"none", "/", unix.MS_REC | unix.MS_PRIVATE},
			{"/proc/sys", "/proc/sys", unix.MS_BIND},
			{"none", "/proc/sys", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY},
		} {
			if err := unix.Mount(m.source, m.target, "", m.flags, ""); err != nil {
				done <- err
				return
			}
		}
		fn()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestReadOnlyProc(t *testing.T) {
	want := []Setting{{Key: IPv4("ip_forward"), Want: Exactly(1)}, {Key: IPv4Conf("eth0", "forwarding"), Want: Exactly(1)}}
	c := newClient(t, Config{})
	readOnly(t, func() {}, func() {
		changes, err := c.Apply(t.Context(), want)
		if !errors.Is(err, ErrReadOnly) || !errors.Is(err, fs.ErrPermission) || len(changes) != 0 {
			t.Errorf("got %v, error %v, want ErrReadOnly", changes, err)
		}
		if err != nil && !contains(err.Error(), "net/ipv4/ip_forward", "--sysctl net.ipv4.ip_forward=VALUE", "privileged", "Config.Root") {
			t.Errorf("error %q does not say what to do", err)
		}
	})
}

// Nothing is written where it is right: a write would fail here.
func TestNoWriteWhereItIsRight(t *testing.T) {
	want := append(DirectorNAT(Director{Interfaces: []string{"eth0", "eth1"}}), RealServerDR("all")...)
	c := newClient(t, Config{})
	prepare := func() {
		if _, err := c.Apply(t.Context(), want); err != nil {
			t.Error(err)
		}
	}
	readOnly(t, prepare, func() {
		if err := (proc{"/proc/sys"}).writeFile(IPv4("ip_forward"), "1"); !errors.Is(err, unix.EROFS) {
			t.Errorf("/proc/sys is not read-only here: error %v", err)
		}
		changes, err := c.Apply(t.Context(), want)
		if err != nil || len(changes) != 0 {
			t.Errorf("got %s, error %v, want nothing to do", commands(changes), err)
		}
	})
}

func TestInterfacesByNetlink(t *testing.T) {
	c := newClient(t, Config{})
	readOnly(t, func() {}, func() {
		want := append(RealServerDR("eth0", "eth1"), RealServerTUN("eth1")...)
		want = append(want, Setting{Key: IPv4Conf("eth0", "promote_secondaries"), Want: Exactly(1)})
		changes, err := c.Apply(t.Context(), want)
		if err != nil {
			t.Error(err)
		}
		expect(t, c, "conf/eth0/arp_ignore=1 conf/eth0/arp_announce=2 conf/eth1/arp_ignore=1 conf/eth0/promote_secondaries=1")
		if _, left, err := c.Restore(t.Context(), changes); err != nil || len(left) != 0 {
			t.Errorf("left %v, error %v", left, err)
		}
		expect(t, c, "conf/eth0/arp_ignore=0 conf/eth0/arp_announce=0 conf/eth1/arp_ignore=0 conf/eth0/promote_secondaries=0")
		for _, k := range []Key{IPv4Conf("all", "arp_ignore"), IPv4Conf("default", "arp_ignore")} {
			if _, err := c.Apply(t.Context(), []Setting{{Key: k, Want: Exactly(1)}}); !errors.Is(err, ErrReadOnly) {
				t.Errorf("%s: error %v, want ErrReadOnly", k, err)
			}
		}
	})
}

// The number of each name is the kernel's: set one by one, only that one moves.
func TestNetlinkNumbers(t *testing.T) {
	c := newClient(t, Config{})
	readOnly(t, func() {}, func() {
		for name := range netconfID {
			k := IPv4Conf("eth0", name)
			before := peek(t, c, k)[k]
			value := "1"
			if before == "1" {
				value = "0"
			}
			if err := setByNetlink(k, value); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got := peek(t, c, k)[k]; got != value {
				t.Errorf("%s is %s after it was set to %s", name, got, value)
			}
			if err := setByNetlink(k, before); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestRootElsewhere(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "net/ipv4")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ip_nonlocal_bind")
	if err := os.WriteFile(file, []byte("0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{Root: root})
	changes := apply(t, c, StandbyProxy())
	if data, err := os.ReadFile(file); err != nil || string(data)[0] != '1' {
		t.Errorf("the file has %q, error %v", data, err)
	}
	restore(t, c, changes)
	if data, err := os.ReadFile(file); err != nil || string(data)[0] != '0' {
		t.Errorf("the file has %q after Restore, error %v", data, err)
	}
}

func TestNewRefusesRelativePaths(t *testing.T) {
	for _, config := range []Config{{Root: "proc/sys"}, {Record: "record.json"}} {
		if _, err := New(config); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: error %v, want fs.ErrInvalid", config, err)
		}
	}
}
