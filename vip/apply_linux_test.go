package vip

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// both runs a test with the kernel's mark and as on a kernel without one.
func both(t *testing.T, test func(t *testing.T, open func(*host, Config) *Manager)) {
	for _, legacy := range []bool{false, true} {
		name := "marked by the kernel"
		if legacy {
			name = "marked by label and run file"
		}
		t.Run(name, func(t *testing.T) {
			test(t, func(h *host, cfg Config) *Manager {
				m := h.manager(cfg)
				m.legacy = legacy
				return m
			})
		})
	}
}

func TestApplyMakesExactlyTheWantedSet(t *testing.T) {
	both(t, func(t *testing.T, open func(*host, Config) *Manager) {
		h := newHost(t)
		m := open(h, Config{})
		got := h.apply(m, want("192.168.247.188@eth0", "fd00::188@eth0", "10.9.9.9@lo"))
		equal(t, "changes", got, []string{
			"ip address add 192.168.247.188/32 dev eth0",
			"ip address add fd00::188/128 dev eth0 nodad preferred_lft 0",
			"ip address add 10.9.9.9/32 dev lo",
		})
		equal(t, "eth0", h.prefixes("eth0"), []string{"192.168.247.188/32", "fd00::188/128"})
		equal(t, "lo", h.prefixes("lo"), []string{"10.9.9.9/32"})
		equal(t, "again", h.apply(m, want("192.168.247.188@eth0", "fd00::188@eth0", "10.9.9.9@lo")), []string{})
		equal(t, "less", h.apply(m, want("fd00::188@eth0")), []string{
			"ip address del 10.9.9.9/32 dev lo", "ip address del 192.168.247.188/32 dev eth0",
		})
		h.release(m)
		equal(t, "eth0 after release", h.prefixes("eth0"), nil)
		if left, _ := filepath.Glob(filepath.Join(h.dir, "*")); left != nil {
			t.Errorf("left in the run dir: %v", left)
		}
	})
}

func TestApplyAfterAKillRepairsAndDoesNotDouble(t *testing.T) {
	both(t, func(t *testing.T, open func(*host, Config) *Manager) {
		h := newHost(t)
		m := open(h, Config{})
		h.apply(m, want("10.0.0.1@eth0", "10.0.0.2@eth0", "fd00::1@lo"))
		m.Close() // without a release, as a killed process
		m = open(h, Config{})
		equal(t, "changes", h.apply(m, want("10.0.0.2@eth0", "10.0.0.3@eth0")), []string{
			"ip address add 10.0.0.3/32 dev eth0", "ip address del 10.0.0.1/32 dev eth0", "ip address del fd00::1/128 dev lo",
		})
		m.Close()
		m = open(h, Config{})
		if _, err := m.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, "after the sweep", h.prefixes("eth0"), nil)
	})
}

func TestForeignAddressesAreNeitherAdoptedNorDeleted(t *testing.T) {
	tests := []struct{ name, foreign, want string }{
		{"the same IPv4 address", "10.0.0.1/32", "10.0.0.1@eth0"},
		{"the same IPv4 address with another prefix", "10.0.0.1/24", "10.0.0.1@eth0"},
		{"the same IPv6 address", "fd00::1/128", "fd00::1@eth0"},
		{"the same IPv6 address with another prefix", "fd00::1/64", "fd00::1@eth0"},
		{"keepalived's", "10.0.0.1/32 proto 18", "10.0.0.1@eth0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, open func(*host, Config) *Manager) {
				h := newHost(t)
				m := open(h, Config{})
				if spec, proto := strings.CutSuffix(tt.foreign, " proto 18"); proto {
					other := h.manager(Config{Mark: 18})
					h.apply(other, want(spec+"@eth0"))
				} else {
					h.ip("address add " + tt.foreign + " dev eth0")
				}
				before := h.addrs("eth0")
				changes, err := m.Apply(t.Context(), want("10.7.7.7@eth0", tt.want))
				if !errors.Is(err, ErrForeign) || !errors.Is(err, fs.ErrExist) {
					t.Errorf("err = %v, want ErrForeign", err)
				}
				equal(t, "the rest is applied", commands(changes), []string{"ip address add 10.7.7.7/32 dev eth0"})
				h.release(m)
				equal(t, "afterwards", withoutLifetime(h.addrs("eth0")), withoutLifetime(before))
			})
		})
	}
}

func withoutLifetime(lines []string) []string {
	for i := range lines {
		lines[i], _, _ = strings.Cut(lines[i], " \\")
		lines[i] = strings.Replace(lines[i], " tentative", "", 1)
	}
	return lines
}

func TestAdditionNeverReplaces(t *testing.T) {
	h := newHost(t)
	h.ip("address add 10.0.0.1/32 dev eth0")
	m := h.manager(Config{})
	for _, a := range []Address{want("10.0.0.1@eth0").Addresses[0], want("fd00::1@eth0").Addresses[0]} {
		err := m.session(func(k *kernel) error {
			_ = k.execute(Change{Op: AddAddress, Address: a.normal()}) // the IPv6 one is not there yet
			return k.execute(Change{Op: AddAddress, Address: a.normal()})
		})
		if !errors.Is(err, ErrForeign) {
			t.Errorf("second add of %v: %v, want ErrForeign", a, err)
		}
	}
	if got := h.addrs("eth0"); strings.Contains(strings.Join(got, ""), "10.0.0.1/32 scope global proto") {
		t.Errorf("the foreign address was marked: %q", got)
	}
}

func TestRemovingAMissingAddressIsFine(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	h.apply(m, want("10.0.0.1@eth0", "fd00::1@eth0"))
	err := m.session(func(k *kernel) error {
		for range 2 {
			for _, a := range want("10.0.0.1@eth0", "fd00::1@eth0", "10.0.0.1@nosuch").Addresses {
				if err := k.deleteAddress(a.normal()); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	h.release(m)
}

func TestIPv6AddressIsUsableAtOnceAndNeverASource(t *testing.T) {
	h := newHost(t)
	h.ip("address add fd00::5/64 dev eth0 nodad")
	h.ip("route add default via fd00::1 dev eth0")
	m := h.manager(Config{})
	h.apply(m, want("fd00::188/64@eth0"))
	line := strings.Join(h.addrs("eth0"), "\n")
	_, line, _ = strings.Cut(line, "fd00::188/64")
	line, _, _ = strings.Cut(line, "\n")
	for _, word := range []string{"nodad", "deprecated", "valid_lft forever", "preferred_lft 0sec"} {
		if !strings.Contains(line, word) {
			t.Errorf("%q lacks %q", line, word)
		}
	}
	if strings.Contains(line, "tentative") {
		t.Errorf("%q is tentative", line)
	}
	if route := h.ip("-6 route get 2001:db8::1"); !strings.Contains(route, "src fd00::5 ") {
		t.Errorf("source is not the machine's own: %q", route)
	}
}

func TestLabelAndScope(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	s := want("10.0.0.1@eth0")
	s.Addresses[0].Label, s.Addresses[0].Scope = "eth0:1", ScopeLink
	equal(t, "changes", h.apply(m, s), []string{"ip address add 10.0.0.1/32 dev eth0 label eth0:1 scope link"})
	if got := h.addrs("eth0"); !strings.HasPrefix(got[0], "10.0.0.1/32 scope link proto 86 eth0:1") && !strings.HasPrefix(got[0], "10.0.0.1/32 scope link eth0:1") && !strings.HasPrefix(got[0], "10.0.0.1/32 scope link proto 0x56 eth0:1") {
		t.Errorf("address is %q", got)
	}
	s.Addresses[0].Scope = ScopeHost
	equal(t, "a changed scope", h.apply(m, s), []string{
		"ip address del 10.0.0.1/32 dev eth0", "ip address add 10.0.0.1/32 dev eth0 label eth0:1 scope host",
	})
	equal(t, "again", h.apply(m, s), []string{})
}

func TestDeletingAPrimaryKeepsTheOthersOfItsSubnet(t *testing.T) {
	h := newHost(t)
	h.set("ipv4", "all", "promote_secondaries", "0")
	h.set("ipv4", "eth0", "promote_secondaries", "0")
	m := h.manager(Config{})
	h.apply(m, want("10.0.0.1/24@eth0"))
	h.ip("address add 10.0.0.7/24 dev eth0") // a secondary now
	h.release(m)
	equal(t, "eth0", h.prefixes("eth0"), []string{"10.0.0.7/24"})
	if got := h.sysctl("eth0", "promote_secondaries"); got != "0" {
		t.Errorf("promote_secondaries = %s, want 0 as before", got)
	}
}

func TestAbsentInterface(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	changes, err := m.Apply(t.Context(), want("10.0.0.1@eth9", "10.0.0.2@eth0"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "eth9") {
		t.Errorf("err = %v", err)
	}
	equal(t, "changes", commands(changes), []string{"ip address add 10.0.0.2/32 dev eth0"})
}

func TestIPv6SwitchedOff(t *testing.T) {
	h := newHost(t)
	h.set("ipv6", "eth0", "disable_ipv6", "1")
	m := h.manager(Config{})
	_, err := m.Apply(t.Context(), want("fd00::1@eth0"))
	if err == nil || !strings.Contains(err.Error(), "disable_ipv6=0") {
		t.Errorf("err = %v, want what to do", err)
	}
}

func TestOneManagerPerMarkAndNamespace(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	second, err := New(Config{NetNS: h.path})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Open(); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: %v, want ErrInUse", err)
	}
	other := h.manager(Config{Mark: 87})
	h.apply(m, want("10.0.0.1@eth0"))
	h.apply(other, want("10.0.0.2@eth0"))
	h.apply(m, want("10.0.0.3@eth0"))
	equal(t, "each has its own", h.prefixes("eth0"), []string{"10.0.0.2/32", "10.0.0.3/32"})
	newHost(t).manager(Config{}) // the same mark elsewhere
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := second.Open(); err != nil {
		t.Errorf("Open after Close: %v", err)
	}
	second.Close()
	if _, err := m.Apply(t.Context(), State{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Apply after Close: %v, want net.ErrClosed", err)
	}
}

// A run file of another boot, or one that names an address that somebody else
// has put there since, must not make it ours.
func TestVoidNotes(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	m.legacy = true
	h.apply(m, want("10.0.0.1@eth0"))
	files, _ := filepath.Glob(filepath.Join(h.dir, "vip-86-*.json"))
	if len(files) != 1 {
		t.Fatalf("run files: %v", files)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	h.release(m)
	h.ip("address add 10.0.0.1/32 dev eth0")
	for name, text := range map[string]string{
		"of a foreign address":    string(data), // the label tells
		"of another boot":         strings.Replace(string(data), `"boot":"`, `"boot":"x`, 1),
		"of another interface":    strings.Replace(string(data), `"ifindex":`, `"ifindex":9`, 1),
		"cut short":               string(data[:len(data)/2]),
		"with an impossible key":  `{"boot":"b","settings":[{"ifindex":1,"key":"../x"}]}`,
		"with an address that is": strings.Replace(string(data), "eth0:lvskit", "eth0:lvs", 1),
	} {
		if err := os.WriteFile(files[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Sweep(t.Context()); err != nil {
			t.Errorf("notes %s: %v", name, err)
		}
		equal(t, "with notes "+name, h.prefixes("eth0"), []string{"10.0.0.1/32"})
	}
}
