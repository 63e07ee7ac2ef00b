package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/need"
)

// keepalived is Debian's. Its process that elects is the child of the one that
// is started.
type keepalived struct {
	common
	process *lab.Process
}

func newKeepalived(t testing.TB, r *rig, n *node, o options) *keepalived {
	need.Program(t, "keepalived")
	return &keepalived{common: newCommon(t, r, n, o)}
}

func (p *keepalived) config() string {
	m := p.rig.mode
	var b strings.Builder
	fmt.Fprintf(&b, "global_defs {\n\trouter_id %s\n\tscript_user root\n}\n", p.node.name)
	fmt.Fprintf(&b, "vrrp_instance VI {\n\tstate BACKUP\n\tinterface eth0\n\tvirtual_router_id %d\n\tpriority %d\n", p.rig.vrid, p.opts.priority)
	fmt.Fprintf(&b, "\tversion %d\n\tadvert_int %v\n", m.version, p.opts.interval.Seconds())
	if p.opts.nopreempt {
		b.WriteString("\tnopreempt\n")
	}
	if p.opts.auth != "" {
		fmt.Fprintf(&b, "\tauthentication {\n\t\tauth_type %s\n\t\tauth_pass s3cret\n\t}\n", strings.ToUpper(p.opts.auth))
	}
	if m.virtual {
		b.WriteString("\tuse_vmac\n")
	}
	if m.unicast {
		fmt.Fprintf(&b, "\tunicast_src_ip %s\n\tunicast_peer {\n", p.node.own(m))
		for _, a := range p.others() {
			fmt.Fprintf(&b, "\t\t%s\n", a)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("\tvirtual_ipaddress {\n")
	for _, vip := range p.opts.vips {
		fmt.Fprintf(&b, "\t\t%s\n", vip)
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

func (p *keepalived) start(t testing.TB) {
	t.Helper()
	file := p.write(t, "keepalived.conf", p.config())
	p.process = launch(t, p.node, "Entering BACKUP STATE", "keepalived", "-n", "-l", "-D", "-P", "-R", "-f", file,
		"-p", filepath.Join(p.dir, "parent.pid"), "-r", p.pidFile())
}

func (p *keepalived) pidFile() string { return filepath.Join(p.dir, "vrrp.pid") }

// signal sends what stops or kills to the process that elects: killed, it takes
// its parent along, which was told not to start another. What is to be obeyed
// goes to the parent.
func (p *keepalived) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if sig == syscall.SIGTERM || sig == syscall.SIGHUP {
		if err := p.process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(p.pidFile())
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(pid, sig)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p *keepalived) ended(t testing.TB) { t.Helper(); waitEnd(t, p.process) }

func (p *keepalived) prioritize(t testing.TB, priority int) {
	t.Helper()
	p.opts.priority = priority
	p.write(t, "keepalived.conf", p.config())
	p.signal(t, syscall.SIGHUP)
}
