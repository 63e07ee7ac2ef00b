package userspace

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

// A contestant is a proxy, or a way without one.
type contestant struct {
	name    string
	process *lab.Process // nil: none
	echo    []netip.AddrPort
	source  []netip.AddrPort
	packets []netip.AddrPort // nil: it has no UDP
}

func (c *contestant) stop() {
	if c.process != nil {
		c.process.Kill()
	}
}

// A rig is where contestants run: clients, proxies and real servers, on one
// host or on three.
type rig struct {
	client, director, server *lab.Host
	vip                      netip.Addr
	servers                  []netip.Addr
	descriptors              int // that each process may have
}

// front is the address of a contestant's n-th service.
func (r *rig) front(base uint16, n uint16) netip.AddrPort {
	return netip.AddrPortFrom(r.vip, base+n)
}

// behind are the real servers at a port.
func (r *rig) behind(port uint16) (list []netip.AddrPort) {
	for _, addr := range r.servers {
		list = append(list, netip.AddrPortFrom(addr, port))
	}
	return list
}

// start starts a contestant by name.
func (r *rig) start(b *testing.B, name string) *contestant {
	b.Helper()
	switch name {
	case "direct":
		return &contestant{name: name, echo: r.behind(echoPort), source: r.behind(sourcePort), packets: r.behind(echoPort)}
	case "engine":
		return r.engine(b)
	case "haproxy":
		return r.haproxy(b, 8200, name, "no option splice-auto")
	case "haproxy-splice":
		return r.haproxy(b, 8300, name, "option splice-auto")
	case "nginx":
		return r.nginx(b)
	case "ipvs":
		return r.ipvs(b)
	}
	b.Fatalf("no such contestant: %s", name)
	return nil
}

// fronts is a contestant with its two services, at base+1 and base+2.
func (r *rig) fronts(name string, p *lab.Process, base uint16) *contestant {
	echo, source := []netip.AddrPort{r.front(base, 1)}, []netip.AddrPort{r.front(base, 2)}
	c := &contestant{name: name, process: p, echo: echo, source: source}
	if !strings.HasPrefix(name, "haproxy") {
		c.packets = echo
	}
	return c
}

// services are the services of an Engine or of the kernel at base.
func (r *rig) services(base uint16) []ipvs.Service {
	var list []ipvs.Service
	for _, s := range []struct {
		protocol ipvs.Protocol
		n        uint16
		port     uint16
	}{{ipvs.TCP, 1, echoPort}, {ipvs.TCP, 2, sourcePort}, {ipvs.UDP, 1, echoPort}} {
		service := ipvs.Service{ID: ipvs.ServiceID{Protocol: s.protocol, Addr: r.front(base, s.n)}, Scheduler: ipvs.RR}
		for _, addr := range r.behind(s.port) {
			service.Destinations = append(service.Destinations, ipvs.Destination{Addr: addr, Forward: ipvs.ForwardMasq, Weight: 1})
		}
		list = append(list, service)
	}
	return list
}

func (r *rig) engine(b *testing.B) *contestant {
	b.Helper()
	services, err := json.Marshal(r.services(8100))
	if err != nil {
		b.Fatal(err)
	}
	p := startChild(b, r.director, "engine", servicesEnv+"="+string(services))
	awaitOutput(b, p, "ready")
	return r.fronts("engine", p, 8100)
}

// ipvs is the kernel's.
func (r *rig) ipvs(b *testing.B) *contestant {
	b.Helper()
	c, err := ipvs.Open(ipvs.Config{NetNS: r.director.Path()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	if _, err := c.Apply(b.Context(), r.services(8500), ipvs.Policy{}); err != nil {
		b.Fatal(err)
	}
	return r.fronts("ipvs", nil, 8500)
}

const haproxyConfig = `global
  nbthread 2
  maxconn %d
  maxpipes 200
defaults
  mode tcp
  %s
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  balance roundrobin
`

func (r *rig) haproxy(b *testing.B, base uint16, name, splice string) *contestant {
	b.Helper()
	need.Program(b, "haproxy")
	var conf bytes.Buffer
	fmt.Fprintf(&conf, haproxyConfig, (r.descriptors-800)/2, splice)
	for n, port := range []uint16{echoPort, sourcePort} {
		fmt.Fprintf(&conf, "listen s%d\n  bind %v backlog 4096\n", n, r.front(base, uint16(n+1)))
		for i, addr := range r.behind(port) {
			fmt.Fprintf(&conf, "  server r%d %v\n", i, addr)
		}
	}
	p := r.peer(b, conf.Bytes(), "haproxy", "-db", "-f")
	return r.fronts(name, p, base)
}

// nginxConfig of the stream module, which Debian has apart.
const nginxStreamConfig = `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid %s/pid;
error_log stderr error;
worker_processes 2;
worker_rlimit_nofile %d;
events { worker_connections %d; }
stream {
`

func (r *rig) nginx(b *testing.B) *contestant {
	b.Helper()
	need.Program(b, "nginx")
	var conf bytes.Buffer
	fmt.Fprintf(&conf, nginxStreamConfig, b.TempDir(), r.descriptors, r.descriptors)
	for n, port := range []uint16{echoPort, sourcePort} {
		fmt.Fprintf(&conf, " upstream u%d {\n", n)
		for _, addr := range r.behind(port) {
			fmt.Fprintf(&conf, "  server %v;\n", addr)
		}
		conf.WriteString(" }\n")
		fmt.Fprintf(&conf, " server { listen %v reuseport backlog=4096; proxy_pass u%d; proxy_timeout 1h; }\n", r.front(8400, uint16(n+1)), n)
	}
	fmt.Fprintf(&conf, " server { listen %v udp reuseport; proxy_pass u0; proxy_timeout 1h; }\n}\n", r.front(8400, 1))
	return r.fronts("nginx", r.peer(b, conf.Bytes(), "nginx", "-c"), 8400)
}

// peer starts a program with a file and waits until its services answer.
func (r *rig) peer(b *testing.B, conf []byte, name string, args ...string) *lab.Process {
	b.Helper()
	file := filepath.Join(b.TempDir(), name+".conf")
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		b.Fatal(err)
	}
	p, err := r.director.Start(name, append(args, file)...)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// answering waits until a contestant takes connections.
func (r *rig) answering(b *testing.B, c *contestant) {
	b.Helper()
	for _, to := range append(c.echo[:1:1], c.source[0]) {
		for patience := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			conn, err := r.client.Dial(b.Context(), "tcp", to.String())
			if err == nil {
				conn.Close()
				break
			}
			if time.Now().After(patience) {
				b.Fatalf("%s: %v", c.name, err)
			}
		}
	}
}

// startChild runs this binary as one of children.
func startChild(t testing.TB, h *lab.Host, name string, env ...string) *lab.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Start("env", append(append(env, childEnv+"="+name), self)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func awaitOutput(t testing.TB, p *lab.Process, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := p.WaitOutput(ctx, text); err != nil {
		t.Fatal(err)
	}
}

// usage is what a process and its children have used and have.
type usage struct {
	processor   time.Duration
	resident    int // bytes
	descriptors int
}

// used reads the usage of a contestant. It is zero for one without a process.
func (c *contestant) used(b testing.TB) (u usage) {
	b.Helper()
	if c.process == nil {
		return u
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
		if group, _ := strconv.Atoi(f[2]); group != c.process.Pid() {
			continue
		}
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		u.processor += time.Duration(user+system) * time.Second / 100 // USER_HZ
		pages, _ := strconv.Atoi(f[21])
		u.resident += pages * os.Getpagesize()
		fds, _ := os.ReadDir(filepath.Join(filepath.Dir(file), "fd"))
		u.descriptors += len(fds)
	}
	return u
}

// descriptorLimit is how many descriptors a process may have, raised as far as
// this one may.
func descriptorLimit(t testing.TB) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	higher := unix.Rlimit{Cur: max(limit.Max, 100_000), Max: max(limit.Max, 100_000)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &higher); err == nil {
		return int(higher.Cur)
	}
	higher = unix.Rlimit{Cur: limit.Max, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &higher); err != nil {
		return int(limit.Cur)
	}
	return int(higher.Cur)
}
