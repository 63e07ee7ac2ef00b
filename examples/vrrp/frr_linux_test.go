package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// frrDir is where Debian has FRR's daemons.
const frrDir = "/usr/lib/frr/"

// frr is FRR's vrrpd with its zebra. The device with the virtual MAC and the
// addresses is the operator's work, and it stays.
type frr struct {
	common
	process *lab.Process
}

func newFRR(t testing.TB, r *rig, n *node, o options) *frr {
	needFRR(t)
	p := &frr{common: newCommon(t, r, n, o)}
	p.operator(t)
	zebra := p.write(t, "zebra.conf", "")
	// It gives up root for a user of its own, who must reach its folder.
	for _, dir := range []string{p.dir, filepath.Dir(p.dir)} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	launch(t, n, "starting:", frrDir+"zebra", p.args("zebra", zebra)...)
	await(t, "zebra listens", 10*time.Second, func() bool {
		_, err := os.Stat(filepath.Join(p.dir, "zserv"))
		return err == nil
	})
	return p
}

// needFRR needs FRR, which changes to a user of its own.
func needFRR(t testing.TB) {
	t.Helper()
	need.Program(t, frrDir+"vrrpd", frrDir+"zebra", "vtysh")
	needUsers(t)
}

// operator makes the device that FRR's documentation asks for.
func (p *frr) operator(t testing.TB) {
	t.Helper()
	h, mac := p.node.host, p.mac().String()
	// Else the interface below answers for the device's address, also in Backup, and
	// tells the neighbours its own MAC when it looks for them.
	labtest.Run(t, h, "sysctl", "-qw", "net.ipv4.conf.eth0.arp_ignore=1", "net.ipv4.conf.eth0.arp_announce=2")
	labtest.Run(t, h, "ip", "link", "add", "vrrp4", "link", "eth0", "type", "macvlan", "mode", "bridge")
	labtest.Run(t, h, "ip", "link", "set", "vrrp4", "address", mac, "addrgenmode", "none")
	if p.rig.mode.ipv6 {
		// What it advertises from; of the virtual MAC it would be the same on all routers.
		labtest.Run(t, h, "ip", "address", "add", fmt.Sprintf("fe80::ff:0:0:%s/64", p.node.name), "dev", "vrrp4")
	}
	for _, vip := range p.opts.vips {
		bits := "/32"
		if p.rig.mode.ipv6 {
			bits = "/128"
		}
		labtest.Run(t, h, "ip", "address", "add", vip+bits, "dev", "vrrp4")
	}
}

func (p *frr) args(daemon, file string) []string {
	return []string{
		"-f", file, "-i", filepath.Join(p.dir, daemon+".pid"), "-z", filepath.Join(p.dir, "zserv"),
		"--vty_socket", p.dir, "-P", "0", "--log", "stdout", "--log-level", "debugging",
	}
}

func (p *frr) config() string {
	m, vrid := p.rig.mode, p.rig.vrid
	var b strings.Builder
	fmt.Fprintf(&b, "log stdout debugging\ninterface eth0\n vrrp %d version %d\n", vrid, m.version)
	fmt.Fprintf(&b, " vrrp %d priority %d\n vrrp %d advertisement-interval %d\n", vrid, p.opts.priority, vrid, p.opts.interval.Milliseconds())
	if p.opts.nopreempt {
		fmt.Fprintf(&b, " no vrrp %d preempt\n", vrid)
	}
	for _, vip := range p.opts.vips {
		family := "ip"
		if m.ipv6 {
			family = "ipv6"
		}
		fmt.Fprintf(&b, " vrrp %d %s %s\n", vrid, family, vip)
	}
	return b.String()
}

func (p *frr) start(t testing.TB) {
	t.Helper()
	file := p.write(t, "vrrpd.conf", p.config())
	labtest.Run(t, p.node.host, "ip", "link", "set", "vrrp4", "up")
	p.process = launch(t, p.node, "Initialize -> ", frrDir+"vrrpd", p.args("vrrpd", file)...)
}

func (p *frr) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func (p *frr) ended(t testing.TB) { t.Helper(); waitEnd(t, p.process) }

func (p *frr) prioritize(t testing.TB, priority int) {
	t.Helper()
	labtest.Run(t, p.node.host, "vtysh", "--vty_socket", p.dir, "--config_dir", p.dir, "-c", "configure terminal",
		"-c", "interface eth0", "-c", fmt.Sprintf("vrrp %d priority %d", p.rig.vrid, priority))
}

// mac is always the virtual one.
func (p *frr) mac() net.HardwareAddr { return virtualMAC(p.rig.mode, p.rig.vrid) }
