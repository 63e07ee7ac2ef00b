package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
)

// peer is a VRRP router on a node: ours or another's.
type peer interface {
	// start runs it, and returns when it takes part.
	start(t testing.TB)
	// signal sends a signal to the process that elects.
	signal(t testing.TB, sig syscall.Signal)
	// ended waits until that process has ended.
	ended(t testing.TB)
	// prioritize changes the priority of the running router.
	prioritize(t testing.TB, priority int)
	// mac is where the virtual address is when it is Active.
	mac() net.HardwareAddr
	// tells is whether it has printed text, if it is ours; others need not.
	tells(text string) func() bool
	// at is the node.
	at() *node
}

// options are what the routers of a rig may have besides its mode.
type options struct {
	priority  int
	nopreempt bool
	mark      int           // of lvskit, if not its own
	interval  time.Duration // instead of the mode's
	vips      []string      // instead of the mode's
	auth      string        // instead of the mode's
	extra     []string      // more arguments of lvskit
}

// kinds make a peer of each kind on a node.
var kinds = map[string]func(t testing.TB, r *rig, n *node, o options) peer{
	"lvskit":     func(t testing.TB, r *rig, n *node, o options) peer { return newLvskit(t, r, n, o) },
	"keepalived": func(t testing.TB, r *rig, n *node, o options) peer { return newKeepalived(t, r, n, o) },
	"frr":        func(t testing.TB, r *rig, n *node, o options) peer { return newFRR(t, r, n, o) },
}

// common is what all peers are.
type common struct {
	rig  *rig
	node *node
	opts options
	dir  string
}

func newCommon(t testing.TB, r *rig, n *node, o options) common {
	if o.vips == nil {
		o.vips = r.mode.vips
	}
	if o.interval == 0 {
		o.interval = r.mode.every()
	}
	if o.auth == "" {
		o.auth = r.mode.auth
	}
	return common{rig: r, node: n, opts: o, dir: t.TempDir()}
}

func (c *common) at() *node { return c.node }

func (c *common) tells(string) func() bool { return func() bool { return true } }

func (c *common) mac() net.HardwareAddr {
	if c.rig.mode.virtual {
		return virtualMAC(c.rig.mode, c.rig.vrid)
	}
	return c.node.link.MAC()
}

// virtualMAC is that of RFC 9568, section 7.3.
func virtualMAC(m mode, id byte) net.HardwareAddr {
	if m.ipv6 {
		return net.HardwareAddr{0, 0, 0x5e, 0, 2, id}
	}
	return net.HardwareAddr{0, 0, 0x5e, 0, 1, id}
}

// others are the addresses of the other nodes.
func (c *common) others() (out []netip.Addr) {
	for _, n := range c.rig.nodes {
		if n != c.node {
			out = append(out, n.own(c.rig.mode))
		}
	}
	return out
}

// write makes a file in the peer's folder.
func (c *common) write(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// launch starts a program and waits until it has written text.
func launch(t testing.TB, n *node, text, name string, args ...string) *lab.Process {
	t.Helper()
	p, err := n.host.Start(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	written(t, p, text)
	return p
}

// written waits until a program has written text.
func written(t testing.TB, p *lab.Process, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second*patience())
	defer cancel()
	if err := p.WaitOutput(ctx, text); err != nil {
		t.Fatal(err)
	}
}

// waitEnd waits until a program has ended, however.
func waitEnd(t testing.TB, p *lab.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second*patience())
	defer cancel()
	if err := p.Wait(ctx); errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

// lvskit is the program of this folder.
type lvskit struct {
	common
	program string
	process *lab.Process
}

func newLvskit(t testing.TB, r *rig, n *node, o options) *lvskit {
	return &lvskit{common: newCommon(t, r, n, o), program: r.program}
}

func (p *lvskit) args(t testing.TB) []string {
	m := p.rig.mode
	args := []string{
		"-interface", "eth0", "-vrid", strconv.Itoa(int(p.rig.vrid)), "-version", strconv.Itoa(m.version), "-interval", p.opts.interval.String(),
		"-priority-file", p.write(t, "priority", strconv.Itoa(p.opts.priority)), "-run", p.dir,
	}
	for _, vip := range p.opts.vips {
		args = append(args, "-vip", vip)
	}
	if m.unicast {
		args = append(args, "-source", p.node.own(m).String())
		for _, a := range p.others() {
			args = append(args, "-peer", a.String())
		}
	}
	if p.opts.auth != "" {
		args = append(args, "-auth", p.opts.auth, "-password", "s3cret")
	}
	if m.virtual {
		args = append(args, "-virtual-mac")
	}
	if p.opts.nopreempt {
		args = append(args, "-nopreempt")
	}
	if p.opts.mark != 0 {
		args = append(args, "-mark", strconv.Itoa(p.opts.mark))
	}
	return append(args, p.opts.extra...)
}

func (p *lvskit) start(t testing.TB) {
	t.Helper()
	p.process = launch(t, p.node, "initialize -> ", p.program, p.args(t)...)
}

func (p *lvskit) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func (p *lvskit) ended(t testing.TB) { t.Helper(); waitEnd(t, p.process) }

func (p *lvskit) prioritize(t testing.TB, priority int) {
	t.Helper()
	p.write(t, "priority", strconv.Itoa(priority))
	p.signal(t, syscall.SIGUSR2)
}

func (p *lvskit) tells(text string) func() bool {
	return func() bool { return strings.Contains(p.process.Output(), text) }
}
