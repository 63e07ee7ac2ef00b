package main

import (
	"context"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// skew is how long lb02 waits when lb01 resigns, silence when it is dead.
func skew() time.Duration    { return advert() * (256 - 90) / 256 }
func silence() time.Duration { return 3*advert() + skew() }

// noticed is how long it takes at most until a check has failed.
const noticed = 11 // tenths of its interval, with its jitter

// TestSiteWithNginx leaves out in an emulated machine what would be the same there.
func TestSiteWithNginx(t *testing.T) {
	r, a := newSite(t, "nginx")
	if !need.Emulated() {
		r.dies(a)
		r.nodeDies(a)
		r.hangs(a)
	}
	a.goesOn(r, "nginx of lb01 is stopped, lb02 has the address", check()*noticed/10+skew(),
		func() { r.lb01.signalNginx(syscall.SIGTERM, false) }, r.at(r.lb02, r.lb01))
	a.goesOn(r, "nginx is started again, lb01 has the address", skew(), func() {}, r.at(r.lb01, r.lb02))
	r.ends(a)
}

func TestSiteWithIPVS(t *testing.T) {
	r, a := newSite(t, "ipvs")
	r.dies(a)
	r.nodeDies(a)
	a.goesOn(r, "rules and services are flushed, and come back", again(), func() {
		labtest.Run(t, r.lb01.Host, "nft", "flush", "ruleset")
		labtest.Run(t, r.lb01.Host, "ipvsadm", "-C")
	}, func() bool { return strings.Contains(r.table(), "192.168.160.90") })
	r.ends(a)
}

// newSite is a site where all runs, lb01 holds the address, and the client has had
// both pages.
func newSite(t *testing.T, form string) (*rig, *asker) {
	r := newRig(t, form)
	r.firewallUp()
	for _, b := range []*balancerHost{r.lb01, r.lb02} {
		b.before = b.state()
		b.start()
	}
	a := newAsker(r)
	r.until("lb01 has the address", r.at(r.lb01, r.lb02))
	r.until("both nodes answer", func() bool { return a.answers(r.node01.page) > 2 && a.answers(r.node02.page) > 2 })
	return r, a
}

// at tells whether one balancer has the address and the other has not.
func (r *rig) at(one, other *balancerHost) func() bool {
	return func() bool { return one.holds() && !other.holds() }
}

// dies kills the program of lb01, and then its machine, as far as others can
// see: a machine without a program would go on for as long as it lives.
func (r *rig) dies(a *asker) {
	r.Helper()
	a.goesOn(r, "nodeport of lb01 is killed, lb02 has the address", silence(),
		func() { r.must(r.lb01.program.Kill()) }, r.lb02.holds)
	a.goesOn(r, "nodeport of lb01 is back, and has the address", skew(), func() { r.lb01.start() }, r.at(r.lb01, r.lb02))
	a.goesOn(r, "lb01 is dead, lb02 has the address", silence(), func() {
		r.must(r.lb01.link.Down())
		r.must(r.lb01.program.Kill())
	}, r.lb02.holds)
	a.goesOn(r, "lb01 is back, and has the address", skew(), func() {
		r.lb01.start()
		r.must(r.lb01.link.Up())
	}, r.at(r.lb01, r.lb02))
}

// hangs stops nginx and lets it go on. A probe waits for a second.
func (r *rig) hangs(a *asker) {
	r.Helper()
	a.goesOn(r, "nginx of lb01 hangs, lb02 has the address", check()*noticed/10+time.Second+skew(),
		func() { r.lb01.signalNginx(syscall.SIGSTOP, true) }, r.at(r.lb02, r.lb01))
	a.goesOn(r, "nginx goes on, lb01 has the address", skew(), func() { r.lb01.signalNginx(syscall.SIGCONT, true) }, r.at(r.lb01, r.lb02))
}

// nodeDies ends the server of a node: the client has the other's page only.
func (r *rig) nodeDies(a *asker) {
	r.Helper()
	r.must(r.node02.listener.Close())
	if r.form == "ipvs" {
		took := r.until("node02 is out of the table", func() bool { return !strings.Contains(r.table(), "192.168.160.90") })
		r.Logf("node02 is dead: out of the table after %v, bound %v", took.Round(time.Millisecond), check()*2)
		if took > check()*2+room() {
			r.Errorf("it took %v", took)
		}
	}
	for i := range 20 {
		if page, err := a.get(r.Context()); err != nil || page != r.node01.page {
			r.Fatalf("request %d after the death of node02: %q, %v", i, page, err)
		}
	}
	a.goesOn(r, "node02 is back", 100*time.Millisecond, func() { r.node02.serve("192.168.160.90") },
		func() bool { return a.answers(r.node02.page) > 0 })
}

func (r *rig) table() string {
	r.Helper()
	return labtest.Run(r.T, r.lb01.Host, "ipvsadm", "-S", "-n")
}

// ends ends all of it, and wants that nothing is left.
func (r *rig) ends(a *asker) {
	r.Helper()
	a.goesOn(r, "nodeport of lb01 ends, lb02 has the address", skew(), r.lb01.stop, r.lb02.holds)
	r.lb02.stop()
	for _, n := range []*node{r.node01, r.node02} {
		if got, want := n.seen(), []string{r.lb01.addr, r.lb02.addr}; !slices.Equal(got, want) {
			r.Errorf("%s has seen the clients %v, want the balancers %v", n.Name(), got, want)
		}
	}
}

func TestWithoutIPVS(t *testing.T) {
	need.NoIPVS(t)
	l := labtest.New(t)
	h := labtest.Host(t, l, "lb01")
	labtest.Connect(t, h, labtest.Switch(t, l, "lan"), "192.168.160.50/24")
	_, err := h.Run(t.Context(), bin.Path(t, "nodeport"), "-form", "ipvs", "-vrid", "51", "-vip", virtual, "-node", "192.168.160.40:30000", "-run", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "nodeport: ipvs: ") {
		t.Errorf("it says %v", err)
	}
	t.Log(err)
}

// TestClientSeesTheOutsideOnly looks at the client's packets, and at the firewall's
// rules as iptables shows them.
func TestClientSeesTheOutsideOnly(t *testing.T) {
	form, more := "nginx", []string(nil)
	if need.Emulated() {
		form, more = "ipvs", []string{"-backend", "iptables"}
	}
	need.Program(t, "iptables")
	r := newRig(t, form)
	capture, err := r.outside.Capture(nil)
	r.must(err)
	r.firewallUp("-backend", "iptables")
	r.lb01.start(more...)
	a := newAsker(r)
	r.until("both nodes answer", func() bool { return a.answers(r.node01.page) > 5 && a.answers(r.node02.page) > 5 })
	l, err := r.client.Listen("tcp", "12.0.0.12:80")
	r.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second*patience())
	defer cancel()
	c, err := r.lb01.Dial(ctx, "tcp", "12.0.0.12:80")
	r.must(err)
	defer c.Close()
	server, err := l.Accept()
	r.must(err)
	defer server.Close()
	if host, _, _ := net.SplitHostPort(server.RemoteAddr().String()); host != "12.0.0.1" {
		t.Errorf("the client sees a machine inside as %s, want 12.0.0.1", host)
	}
	outsideOnly(t, capture.Frames())
	list := labtest.Run(t, r.firewall, "iptables", "-t", "nat", "-nL")
	words := strings.Join(strings.Fields(list), " ")
	for _, want := range []string{
		"0.0.0.0/0 12.0.0.1 tcp dpt:3344", "to:" + virtual, "192.168.160.0/24 0.0.0.0/0", "to:12.0.0.1",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("iptables -t nat -nL does not show %q:\n%s", want, list)
		}
	}
	t.Log(list)
}
