package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// TestTheNextRunMayWantSomethingElse kills a director and starts it with
// another virtual address and other real servers. What the first had made goes,
// what others have made stays.
func TestTheNextRunMayWantSomethingElse(t *testing.T) {
	p := compiled(t)
	need.Program(t, "ipvsadm")
	c := newTestCluster(t, "dr", false)
	labtest.Run(t, c.director, "ipvsadm", "-A", "-t", "192.168.247.189:80", "-s", "wrr")
	labtest.Run(t, c.director, "ip", "address", "add", "192.168.247.189/32", "dev", "eth0")
	before := state(t, c.director)

	runDir := t.TempDir()
	killed := labtest.Start(t, c.director, "ready\n", p.director, append(c.args(t, c.service("rr")), "-run", runDir)...)
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	c.vip = netip.MustParseAddr("192.168.247.200")
	c.reals = c.reals[:1]
	next := labtest.Start(t, c.director, "ready\n", p.director, append(c.args(t, c.service("lc")), "-run", runDir)...)
	const want = `-A -t 192.168.247.189:80 -s wrr
-A -t 192.168.247.200:80 -s lc
-a -t 192.168.247.200:80 -r 192.168.247.135:80 -g -w 1
`
	// The real servers of the first, which are not wanted any more, are drained.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := next.WaitOutput(ctx, "ipvsadm -D -t 192.168.247.188:80\n"); err != nil {
		t.Fatal(err)
	}
	if err := next.WaitOutput(ctx, "ip address del 192.168.247.188/32 dev eth0\n"); err != nil {
		t.Fatal(err)
	}
	if got := labtest.Run(t, c.director, "ipvsadm", "-S", "-n"); got != want {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
	addresses := labtest.Run(t, c.director, "ip", "-o", "-4", "address", "show", "dev", "eth0")
	for addr, want := range map[string]bool{"192.168.247.188/32": false, "192.168.247.189/32": true, "192.168.247.200/32": true} {
		if got := strings.Contains(addresses, addr); got != want {
			t.Errorf("%s on eth0: %v, want %v", addr, got, want)
		}
	}
	stop(t, next)
	if after := state(t, c.director); after != before {
		t.Errorf("in the end the director differs:\n%s", differ(before, after))
	}
}

// TestASecondDirectorIsRefused: two that each take the table back to what they
// want would undo each other.
func TestASecondDirectorIsRefused(t *testing.T) {
	c, p := newTestCluster(t, "dr", false), compiled(t)
	c.startDirector(t, p, c.service("rr"))
	before := state(t, c.director)
	second, err := c.director.Start(p.director, append(c.args(t, c.service("wlc")), "-run", t.TempDir())...)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(t.Context()); err == nil || !strings.Contains(second.Output(), "director: vip: ") {
		t.Errorf("the second director ended with %v and wrote\n%s", err, second.Output())
	}
	if after := state(t, c.director); after != before {
		t.Errorf("the second director changed\n%s", differ(before, after))
	}
}

// TestAVanishedAddressIsPutBack takes the virtual address away as a network
// manager does.
func TestAVanishedAddressIsPutBack(t *testing.T) {
	c, p := newTestCluster(t, "dr", false), compiled(t)
	c.startAll(t, p, c.service("rr"))
	labtest.Run(t, c.director, "ip", "address", "del", c.vip.String()+"/32", "dev", "eth0")
	if got := count(c.asks(t, "tcp", 2)); len(got) != 2 {
		t.Errorf("2 requests were spread as %v, want one each", got)
	}
}

// TestOneCapabilityIsEnough runs both programs as an ordinary user who has
// CAP_NET_ADMIN, as a service manager starts them.
func TestOneCapabilityIsEnough(t *testing.T) {
	p := compiled(t)
	need.Program(t, "setpriv")
	c := newTestCluster(t, "dr", false)
	before := state(t, c.director)
	start := func(h *lab.Host, program string, args ...string) *lab.Process {
		t.Helper()
		run := t.TempDir()
		if err := errors.Join(os.Chown(run, nobody, nobody), os.Chmod(filepath.Dir(run), 0o755)); err != nil {
			t.Fatal(err)
		}
		user := []string{"--reuid", strconv.Itoa(nobody), "--regid", strconv.Itoa(nobody), "--clear-groups", "--inh-caps", "-all,+net_admin", "--ambient-caps", "+net_admin", program}
		return labtest.Start(t, h, "ready\n", "setpriv", slices.Concat(user, args, []string{"-run", run})...)
	}
	for i, s := range c.servers {
		start(s, p.realserver, c.serverArgs(i)...)
	}
	if err := c.serve(); err != nil {
		t.Fatal(err)
	}
	director := start(c.director, p.director, c.args(t, c.service("rr"))...)
	if got := count(c.asks(t, "tcp", 2)); len(got) != 2 {
		t.Errorf("2 requests were spread as %v, want one each", got)
	}
	stop(t, director)
	if after := state(t, c.director); after != before {
		t.Errorf("in the end the director differs:\n%s", differ(before, after))
	}
}

const nobody = 65534
