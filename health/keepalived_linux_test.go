package health_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

// balanced is a virtual service that keepalived and we take care of.
type balanced struct {
	name    string
	port    uint16
	udp     bool
	policy  health.Policy
	before  string // the virtual server in keepalived.conf
	options string // of it
	real    []checked
}

// checked is a real server with its check, as keepalived has it and as we do. Its
// address ends with its place in the list and 11.
type checked struct {
	weight int
	conf   string
	prober health.Prober
}

// sorryAddr is the address of all sorry servers.
const sorryAddr = "10.51.0.19"

func (b *balanced) addr(i int) netip.AddrPort { return addrPort(i+11, b.port) }

func addrPort(last int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 51, 0, byte(last)}), port)
}

func (b *balanced) id() ipvs.ServiceID {
	id := ipvs.ServiceID{Protocol: ipvs.TCP, Addr: addrPort(100, b.port)}
	if b.udp {
		id.Protocol = ipvs.UDP
	}
	return id
}

// conf is the service in keepalived.conf.
func (b *balanced) conf() string {
	protocol := "TCP"
	if b.udp {
		protocol = "UDP"
	}
	var c strings.Builder
	fmt.Fprintf(&c, "%svirtual_server 10.51.0.100 %d {\n delay_loop 1\n warmup 0\n retry 0\n delay_before_retry 1\n connect_timeout 4\n", b.before, b.port)
	fmt.Fprintf(&c, " lb_algo rr\n lb_kind NAT\n protocol %s\n%s\n", protocol, b.options)
	if b.policy.Sorry {
		fmt.Fprintf(&c, " sorry_server %s %d\n", sorryAddr, b.port)
	}
	for i, r := range b.real {
		fmt.Fprintf(&c, " real_server %v %d {\n  weight %d\n", b.addr(i).Addr(), b.port, r.weight)
		if b.policy.Inhibit {
			c.WriteString("  inhibit_on_failure\n")
		}
		fmt.Fprintf(&c, "%s\n }\n", r.conf)
	}
	c.WriteString("}\n")
	return c.String()
}

// parity is two directors of the same servers, each with a table of its own.
type parity struct {
	services     []*balanced
	ours, theirs *ipvs.Client
	monitor      *health.Monitor
	pools        map[string]*health.Pool
	mu           sync.Mutex // one decision at a time
}

// directors makes the hosts, and starts keepalived and us.
func directors(t *testing.T, l *lab.Lab, lan *lab.Switch, services func(ours *lab.Host) []*balanced) *parity {
	t.Helper()
	p := &parity{pools: map[string]*health.Pool{}}
	open := func(name, addr string) (*lab.Host, *ipvs.Client) {
		h := labtest.Host(t, l, name)
		labtest.Connect(t, h, lan, addr)
		c, err := ipvs.Open(ipvs.Config{NetNS: h.Path()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return h, c
	}
	var us, them *lab.Host
	us, p.ours = open("ours", "10.51.0.1/24")
	them, p.theirs = open("theirs", "10.51.0.2/24")
	p.services = services(us)

	dir, conf := t.TempDir(), "global_defs {\n script_user root\n}\n"
	for _, b := range p.services {
		conf += b.conf()
	}
	file := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	labtest.Start(t, them, "Starting Healthcheck child process", "keepalived", "-n", "-l", "-D", "-C", "-R", "-f", file,
		"-p", filepath.Join(dir, "parent.pid"), "-c", filepath.Join(dir, "checkers.pid"))
	p.run(t)
	return p
}

// run starts our checks.
func (p *parity) run(t *testing.T) {
	t.Helper()
	var err error
	if p.monitor, err = health.New(health.Config{OnChange: func(health.Change) { p.apply(t) }}); err != nil {
		t.Fatal(err)
	}
	for _, b := range p.services {
		if p.pools[b.name], err = health.NewPool(b.policy); err != nil {
			t.Fatal(err)
		}
		for i, r := range b.real {
			c := health.Check{Prober: r.prober, Interval: time.Second, Timeout: 5 * time.Second, Rise: 1, Fall: 1}
			if err := p.monitor.Set(b.check(i), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.monitor.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (b *balanced) check(i int) string { return fmt.Sprint(b.name, " ", b.addr(i)) }

// apply decides and writes the table.
func (p *parity) apply(t *testing.T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var want []ipvs.Service
	for _, b := range p.services {
		var members []health.Member
		for i, r := range b.real {
			s, _ := p.monitor.Status(b.check(i))
			members = append(members, health.Member{ID: b.addr(i).String(), Weight: r.weight, State: s.State, Change: s.Report.Weight})
		}
		d := p.pools[b.name].Decide(time.Now(), members)
		if d.Sorry {
			d.Serve = append(d.Serve, health.Share{ID: fmt.Sprint(sorryAddr, ":", b.port), Weight: 1})
		}
		s := ipvs.Service{ID: b.id(), Scheduler: ipvs.RR}
		for _, share := range d.Serve {
			dest := ipvs.Destination{Addr: netip.MustParseAddrPort(share.ID), Forward: ipvs.ForwardMasq, Weight: share.Weight}
			s.Destinations = append(s.Destinations, dest)
		}
		want = append(want, s)
	}
	if _, err := p.ours.Apply(context.Background(), want, ipvs.Policy{Owns: ipvs.OwnAll}); err != nil {
		t.Error(err)
	}
}

// table is what a director serves, as "11=1 12=3" by service.
func (p *parity) table(t *testing.T, c *ipvs.Client) map[string]string {
	t.Helper()
	list, err := c.Services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, b := range p.services {
		got[b.name] = "no service"
		for _, s := range list {
			if s.ID != b.id() {
				continue
			}
			var words []string
			for _, d := range s.Destinations {
				words = append(words, fmt.Sprintf("%d=%d", d.Addr.Addr().As4()[3], d.Weight))
			}
			slices.Sort(words)
			got[b.name] = strings.Join(words, " ")
		}
	}
	return got
}

// agree waits until both tables are what is wanted.
func (p *parity) agree(t *testing.T, what string, want map[string]string) {
	t.Helper()
	begun := time.Now()
	for {
		ours, theirs := p.table(t, p.ours), p.table(t, p.theirs)
		if maps.Equal(ours, want) && maps.Equal(theirs, want) {
			t.Logf("%s: after %v", what, time.Since(begun).Round(10*time.Millisecond))
			return
		}
		if time.Since(begun) > 30*time.Second {
			for _, b := range p.services {
				if o, k, w := ours[b.name], theirs[b.name], want[b.name]; o != w || k != w {
					t.Errorf("%s: %s: ours %q, keepalived's %q, want %q", what, b.name, o, k, w)
				}
			}
			t.FailNow()
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// page is what the web servers show, and its digest as genhash prints it.
const page = "it works\n"

func digest() string {
	sum := md5.Sum([]byte(page))
	return hex.EncodeToString(sum[:])
}

// TestKeepalivedDecidesLikewise lets keepalived's checker and a Monitor with Pools
// look at the same servers, and wants the same tables at every turn.
func TestKeepalivedDecidesLikewise(t *testing.T) {
	need.IPVS(t)
	need.Program(t, "keepalived")
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	farm := newFarm(t, l, lan)
	dir := t.TempDir()
	p := directors(t, l, lan, func(ours *lab.Host) []*balanced { return parityServices(t, dir, ours) })

	want := map[string]string{}
	for _, turn := range turns {
		for where, what := range turn.events {
			if strings.HasPrefix(where, "/") {
				writeText(t, dir+where, what)
			} else {
				farm.set(t, where, what)
			}
		}
		for service, serves := range turn.want {
			want[service] = serves
		}
		p.agree(t, turn.name, want)
	}
}

func writeText(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
