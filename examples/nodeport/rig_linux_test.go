package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

func TestMain(m *testing.M) { labtest.Main(m) }

const (
	virtual   = "192.168.160.100:3344"
	published = "12.0.0.1:3344"
	nodePort  = "30000"
)

// patience is what every wait is multiplied by.
func patience() time.Duration {
	if need.Emulated() {
		return 8
	}
	return 1
}

// advert is the interval of advertisements, check that of checks, and again that
// after which an nginx is started again.
func advert() time.Duration {
	return map[bool]time.Duration{true: time.Second, false: 250 * time.Millisecond}[need.Emulated()]
}

func check() time.Duration {
	return map[bool]time.Duration{true: 500 * time.Millisecond, false: 200 * time.Millisecond}[need.Emulated()]
}

func again() time.Duration {
	return map[bool]time.Duration{true: 3 * time.Second, false: 2 * time.Second}[need.Emulated()]
}

// room is how much later than its bound a busy machine may be.
func room() time.Duration { return 2 * time.Second * patience() }

// rig is the whole site:
//
//	client 12.0.0.12 --- outside --- 12.0.0.1 firewall 192.168.160.1
//	                                                    |
//	    +---------------+----------------+--------------+-+--- 192.168.160.0/24
//	    |               |                |                |
//	.50 lb01        .60 lb02        .40 node01       .90 node02
//	.100 VIP        (.100 VIP)      NodePort 30000   NodePort 30000
type rig struct {
	*testing.T
	form             string
	program          string
	client, firewall *lab.Host
	outside          *lab.Link // the client's
	gateway          *lab.Process
	lb01, lb02       *balancerHost
	node01, node02   *node
}

// balancerHost is a machine that the program runs on.
type balancerHost struct {
	*rig
	*lab.Host
	link     *lab.Link
	addr     string
	priority int
	run      string
	before   string // what it was like before the program
	program  *lab.Process
}

// node is a machine of the cluster: it serves its page at the NodePort.
type node struct {
	*rig
	*lab.Host
	page string

	mu       sync.Mutex
	listener net.Listener
	clients  map[string]int // by address, as the node sees them; guarded by mu
}

func newRig(t *testing.T, form string) *rig {
	if form == "ipvs" {
		need.IPVS(t)
		need.Program(t, "ipvsadm")
	} else {
		need.Program(t, "nginx")
	}
	need.Program(t, "nft", "ip")
	t.Parallel() // it waits nearly all the time
	l := labtest.New(t)
	r := &rig{T: t, form: form, program: bin.Path(t, "nodeport"), client: labtest.Host(t, l, "client"), firewall: labtest.Host(t, l, "firewall")}
	outside, inside := labtest.Switch(t, l, "outside"), labtest.Switch(t, l, "inside")
	r.connect(r.firewall, inside, "ens33", "192.168.160.1/24")
	r.connect(r.firewall, outside, "ens36", "12.0.0.1/24")
	r.outside = r.connect(r.client, outside, "ens33", "12.0.0.12/24") // it knows no way inside
	r.lb01 = r.balancer(l, inside, "lb01", "192.168.160.50", 100)
	r.lb02 = r.balancer(l, inside, "lb02", "192.168.160.60", 90)
	r.node01 = r.node(l, inside, "node01", "192.168.160.40")
	r.node02 = r.node(l, inside, "node02", "192.168.160.90")
	return r
}

func (r *rig) connect(h *lab.Host, s *lab.Switch, name, addr string) *lab.Link {
	r.Helper()
	k, err := h.Connect(s, lab.LinkConfig{Name: name, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}})
	r.must(err)
	return k
}

// inside adds a machine whose gateway is the firewall.
func (r *rig) inside(l *lab.Lab, s *lab.Switch, name, addr string) (*lab.Host, *lab.Link) {
	r.Helper()
	h := labtest.Host(r.T, l, name)
	k := r.connect(h, s, "ens33", addr+"/24")
	r.must(h.Route(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("192.168.160.1")))
	return h, k
}

func (r *rig) balancer(l *lab.Lab, s *lab.Switch, name, addr string, priority int) *balancerHost {
	r.Helper()
	b := &balancerHost{rig: r, addr: addr, priority: priority, run: r.TempDir()}
	b.Host, b.link = r.inside(l, s, name, addr)
	return b
}

func (r *rig) node(l *lab.Lab, s *lab.Switch, name, addr string) *node {
	r.Helper()
	n := &node{rig: r, page: "this is " + name + " web!", clients: map[string]int{}}
	n.Host, _ = r.inside(l, s, name, addr)
	n.serve(addr)
	return n
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// serve publishes the node's page, as kube-proxy does.
func (n *node) serve(addr string) {
	n.Helper()
	l, err := n.Listen("tcp", net.JoinHostPort(addr, nodePort))
	n.must(err)
	n.listener = l
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		host, _, _ := net.SplitHostPort(req.RemoteAddr)
		n.mu.Lock()
		n.clients[host]++
		n.mu.Unlock()
		fmt.Fprint(w, n.page)
	}))
}

// seen are the addresses of the clients that the node has seen.
func (n *node) seen() (addrs []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for a := range n.clients {
		addrs = append(addrs, a)
	}
	slices.Sort(addrs)
	return addrs
}

// firewallUp starts the gateway, which leads the published port to the virtual
// address and lets the inside out.
func (r *rig) firewallUp(more ...string) {
	r.Helper()
	r.gateway = labtest.Start(r.T, r.firewall, "ready\n", bin.Path(r.T, "gateway"), append([]string{
		"-inside", "192.168.160.0/24", "-inside-interface", "ens33", "-outside-interface", "ens36", "-snat", "12.0.0.1",
		"-publish", published + "=" + virtual + "/tcp", "-run", r.TempDir(),
	}, more...)...)
}

// start starts the program.
func (b *balancerHost) start(more ...string) {
	b.Helper()
	args := append([]string{
		"-form", b.form, "-interface", "ens33", "-vrid", "51", "-priority", strconv.Itoa(b.priority), "-interval", advert().String(),
		"-vip", virtual, "-node", "192.168.160.40:" + nodePort, "-node", "192.168.160.90:" + nodePort,
		"-check", check().String(), "-again", again().String(), "-run", b.run,
	}, more...)
	b.program = labtest.Start(b.T, b.Host, "initialize -> ", b.rig.program, args...)
}

// stop ends the program as systemd would, and wants that it leaves nothing.
func (b *balancerHost) stop() {
	b.Helper()
	b.must(b.program.Signal(syscall.SIGTERM))
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second*patience())
	defer cancel()
	if err := b.program.Wait(ctx); err != nil {
		b.Fatalf("%s: %v\n%s", b.program, err, b.program.Output())
	}
	if after := b.state(); after != b.before {
		b.Errorf("the program on %s leaves\n%s\nwhere before there was\n%s", b.Name(), after, b.before)
	}
}

// state is what the program may change.
func (b *balancerHost) state() string {
	b.Helper()
	var all strings.Builder
	for _, command := range []string{"ip -o -4 address show dev ens33", "nft list ruleset", "ipvsadm -S -n"} {
		args := strings.Fields(command)
		if b.form == "ipvs" || args[0] == "ip" {
			all.WriteString(labtest.Run(b.T, b.Host, args[0], args[1:]...))
		}
	}
	b.must(b.Do(func() error {
		files, err := filepath.Glob("/proc/sys/net/ipv4/vs/*")
		for _, f := range append(files, "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/ens33/send_redirects") {
			text, _ := os.ReadFile(f)
			fmt.Fprintf(&all, "%s = %s", f, text)
		}
		return err
	}))
	if _, err := os.Stat(filepath.Join(b.run, "nginx.pid")); err == nil {
		all.WriteString("nginx runs\n")
	}
	return all.String()
}

// holds tells whether the machine has the virtual address.
func (b *balancerHost) holds() bool {
	b.Helper()
	return strings.Contains(labtest.Run(b.T, b.Host, "ip", "-o", "-4", "address", "show", "dev", "ens33"), "192.168.160.100/")
}

// signalNginx sends a signal to the master of nginx, and to its workers too if all
// is set.
func (b *balancerHost) signalNginx(sig syscall.Signal, all bool) {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(b.run, "nginx.pid"))
	b.must(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	b.must(err)
	if all {
		pid = -pid // a daemon leads its process group
	}
	b.must(syscall.Kill(pid, sig))
}

// until polls.
func (r *rig) until(what string, ok func() bool) time.Duration {
	r.Helper()
	begun := time.Now()
	for !ok() {
		if time.Since(begun) > 30*time.Second*patience() {
			r.Fatalf("after %v it is not so that %s", time.Since(begun), what)
		}
		time.Sleep(10 * time.Millisecond * patience())
	}
	return time.Since(begun)
}
