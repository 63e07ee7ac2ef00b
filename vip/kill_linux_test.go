package vip

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/netns"
)

// Variables of the environment that make the test program a victim.
const (
	victimDir    = "VIP_TEST_VICTIM_DIR"
	victimLegacy = "VIP_TEST_VICTIM_LEGACY"
	victimTunnel = "VIP_TEST_VICTIM_TUNNEL"
	victimMAC    = "VIP_TEST_VICTIM_MAC"
	victimFilter = "VIP_TEST_VICTIM_FILTER"
	victimSquats = "VIP_TEST_VICTIM_SQUATS"
)

// victimStates are what a victim applies in turn; with tunnels, virtual MACs
// and filters if the kernel has them.
func victimStates(tunnel, mac, filter bool) []State {
	vips := []netip.Addr{vipA, vipB, clusterVIP}
	a := DirectRouting(vips, "eth0")
	b := want("10.0.0.1@eth0", "10.3.3.3/24@eth0", "fd00::7@eth0", "fd00::8/64@eth0")
	b.SuppressARP = []string{"all"}
	if tunnel {
		b.Tunnels = []Tunnel{{Local: netip.MustParseAddr("10.9.9.9"), GUEPort: 6080}}
		b.Addresses = append(b.Addresses, want("10.4.4.4@lvs0").Addresses...)
	}
	if mac {
		a.VirtualMACs = []VirtualMAC{{Parent: "eth0", VRID: 7}}
		a.Addresses = append(a.Addresses, want("10.5.5.5@vrrp.7").Addresses...)
	}
	b.NoAccept = filter
	return []State{a, b, {}}
}

// victim changes states until it is killed, or its parent has been for long.
func victim(dir string) {
	if os.Getenv(victimSquats) != "" {
		_, err := net.Listen("unix", fmt.Sprintf("@lvskit/vip/%d", DefaultMark))
		fmt.Println("begun", err)
		time.Sleep(time.Minute)
		return
	}
	m, err := New(Config{RunDir: dir})
	if err == nil {
		m.legacy = os.Getenv(victimLegacy) != ""
		err = m.Open()
	}
	states := victimStates(os.Getenv(victimTunnel) != "", os.Getenv(victimMAC) != "", os.Getenv(victimFilter) != "")
	start := time.Now()
	for i := 0; err == nil && time.Since(start) < time.Minute; i++ {
		_, err = m.Apply(context.Background(), states[i%len(states)])
		if i == 0 {
			fmt.Println("begun")
		}
	}
	fmt.Println(err)
}

// killed runs a victim on the host and kills it after a while.
func (h *host) killed(after time.Duration, env ...string) {
	h.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), victimDir+"="+h.dir), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := netns.Do(h.path, cmd.Start); err != nil {
		h.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "begun") {
		h.t.Errorf("victim: %q", lines.Text())
	}
	time.Sleep(after) // the moment is what is tested
	cmd.Process.Kill()
	for lines.Scan() {
		h.t.Errorf("victim: %s", lines.Text())
	}
	cmd.Wait()
}

// linkNames are the names of all interfaces. Their state may still settle.
func (h *host) linkNames() (names []string) {
	for line := range strings.Lines(h.ip("-o link show")) {
		names = append(names, strings.Fields(line)[1])
	}
	return names
}

func TestKilledAtAnyMoment(t *testing.T) {
	both(t, func(t *testing.T, open func(*host, Config) *Manager) {
		h := newHost(t)
		env := []string{}
		_, err := h.run("ip", "link", "add", "probe0", "type", "ipip", "local", "10.8.8.8")
		if _, fou := h.run("ip", "fou", "add", "port", "7", "gue"); err == nil && fou == nil {
			env = append(env, victimTunnel+"=1")
		}
		if _, err := h.run("ip", "link", "add", "link", "eth0", "name", "probe1", "type", "macvlan", "mode", "bridge"); err == nil {
			env = append(env, victimMAC+"=1")
			h.ip("link del probe1")
		}
		filter := false
		if _, err := h.run("nft", "add", "table", "inet", "other"); err == nil {
			env = append(env, victimFilter+"=1")
			filter = true
		}
		h.ip("address add 10.3.3.9/24 dev eth0")
		h.set("ipv4", "eth0", "arp_announce", "1")
		links := h.linkNames()
		for range 8 {
			m := open(h, Config{})
			if m.legacy {
				env = append(env[:len(env):len(env)], victimLegacy+"=1")
			}
			m.Close()
			h.killed(time.Duration(rand.IntN(30_000))*time.Microsecond, env...)

			m = open(h, Config{})
			h.apply(m, want("10.0.0.1@eth0", "fd00::1@lo"))
			equal(t, "eth0", h.prefixes("eth0"), []string{"10.0.0.1/32", "10.3.3.9/24"})
			equal(t, "lo", h.prefixes("lo"), []string{"fd00::1/128"})
			h.release(m)
			m.Close()
			equal(t, "eth0 after release", h.prefixes("eth0"), []string{"10.3.3.9/24"})
			equal(t, "lo after release", h.prefixes("lo"), nil)
			got := ""
			for _, iface := range []string{"all", "eth0"} {
				got += h.sysctl(iface, "arp_ignore") + h.sysctl(iface, "arp_announce")
			}
			if got != "0001" {
				t.Fatalf("settings after release: %s, want 0001", got)
			}
			equal(t, "devices after release", h.linkNames(), links)
			if filter {
				equal(t, "tables after release", h.filters(), []string{"table inet other"})
			}
			if left, _ := filepath.Glob(filepath.Join(h.dir, "*.json")); left != nil {
				t.Fatalf("left in the run dir: %v", left)
			}
		}
	})
}

// Nobody's listener is not believed, or anybody could keep a director down.
func TestAnotherUserCannotHoldTheMark(t *testing.T) {
	h := newHost(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimDir+"=none", victimSquats+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := netns.Do(h.path, cmd.Start); err != nil {
		t.Skipf("cannot be another user here: %v", err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if lines := bufio.NewScanner(out); !lines.Scan() || lines.Text() != "begun <nil>" {
		t.Fatalf("squatter: %q", lines.Text())
	}
	m := h.manager(Config{}) // opens
	h.apply(m, want("10.0.0.1@eth0"))
	h.release(m)
}

// A program is killed between its note of a port and the port itself.
func TestANotedPortThatNeverOpenedIsForgotten(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	if err := m.session(func(k *kernel) error {
		k.notes.notePort(GUE{Port: 6080})
		return k.saveNow()
	}); err != nil {
		t.Fatal(err)
	}
	h.release(m)
	if left, err := filepath.Glob(filepath.Join(h.dir, "*.json*")); left != nil || err != nil {
		t.Errorf("left in the run dir: %v, %v", left, err)
	}
}
