package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// pairs is how many pairs run at a time, unless -parallel says otherwise. They
// wait nearly all the time.
func pairs() int {
	if need.Emulated() {
		return 2
	}
	return 8
}

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(pairs()))
	}
	labtest.Main(m)
}

// heavy skips what would be the same on any kernel where all is slow.
func heavy(t *testing.T) {
	t.Helper()
	if need.Emulated() {
		t.Skip("it does not depend on the kernel")
	}
}

// patience is what every wait is multiplied by.
func patience() time.Duration {
	if need.Emulated() {
		return 8
	}
	return 1
}

// room is how much later than its bound a busy machine may be.
func room() time.Duration { return 2 * time.Second * patience() }

// advert is the interval of advertisements, check that of checks.
func advert() time.Duration {
	if need.Emulated() {
		return time.Second
	}
	return 250 * time.Millisecond
}

var (
	compileOnce sync.Once
	code        []byte // of the program
)

// compiled is the program in a folder of the test's. It is compiled once.
func compiled(t *testing.T) string {
	t.Helper()
	compileOnce.Do(func() {
		var err error
		if code, err = os.ReadFile(bin.Path(t, "ha-proxy-pair")); err != nil {
			t.Fatal(err)
		}
	})
	file := filepath.Join(t.TempDir(), "ha-proxy-pair")
	// No process may be forked meanwhile: it would have the file open for writing,
	// and then it is busy.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, code, 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

const (
	check     = 200 * time.Millisecond
	virtual   = "10.51.0.100"
	high, low = 100, 90
)

// pair is a client and two machines with a proxy each.
//
//	client .9 ---+--- .1 a, priority 100
//	             +--- .2 b, priority 90
type pair struct {
	program string
	client  *lab.Host
	a, b    *machine
}

// machine has an nginx and the program.
type machine struct {
	name, dir string
	host      *lab.Host
	nginx     *lab.Process
	program   *lab.Process
}

func newPair(t *testing.T) *pair {
	t.Helper()
	t.Parallel()
	need.Program(t, "nginx")
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	p := &pair{program: compiled(t), client: labtest.Host(t, l, "client")}
	labtest.Connect(t, p.client, lan, "10.51.0.9/24")
	for i, m := range []**machine{&p.a, &p.b} {
		*m = &machine{name: string(rune('a' + i)), dir: t.TempDir()}
		(*m).host = labtest.Host(t, l, (*m).name)
		labtest.Connect(t, (*m).host, lan, fmt.Sprintf("10.51.0.%d/24", i+1))
	}
	return p
}

// both starts the proxies and the programs with more arguments, and waits until a
// serves.
func (p *pair) both(t *testing.T, more ...string) {
	t.Helper()
	for _, m := range []*machine{p.a, p.b} {
		m.proxy(t)
		m.start(t, p.program, more...)
	}
	p.serves(t, p.a, "it has the higher priority")
}

const nginxConf = `
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr notice;
%[3]s
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	scgi_temp_path %[1]s/scgi;
	uwsgi_temp_path %[1]s/uwsgi;
	server {
		listen 80;
		location / { return 200 "%[2]s"; }
	}
}
`

// proxy starts nginx.
func (m *machine) proxy(t *testing.T) {
	t.Helper()
	conf, user := filepath.Join(m.dir, "nginx.conf"), ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, m.dir, m.name, user), 0o644); err != nil {
		t.Fatal(err)
	}
	m.nginx = labtest.Start(t, m.host, "start worker process", "nginx", "-e", "stderr", "-c", conf, "-g", "daemon off;")
}

// signalProxy sends a signal to nginx and its worker: "killall nginx".
func (m *machine) signalProxy(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-m.nginx.Pid(), sig); err != nil {
		t.Fatal(err)
	}
}

// start starts the program.
func (m *machine) start(t *testing.T, program string, more ...string) {
	t.Helper()
	priority := map[string]int{"a": high, "b": low}[m.name]
	m.program = labtest.Start(t, m.host, "initialize -> ", program, append([]string{
		"-vrid", "51", "-vip", virtual, "-priority", fmt.Sprint(priority), "-interval", advert().String(),
		"-pid", filepath.Join(m.dir, "nginx.pid"), "-down", m.downFile(),
		"-check", check.String(), "-timeout", (500 * time.Millisecond * patience()).String(),
		"-run", filepath.Join(m.dir, "run"), "-metrics", "127.0.0.1:9100",
	}, more...)...)
}

func (m *machine) downFile() string { return filepath.Join(m.dir, "down") }

// ask asks the virtual address for the name of the machine behind it.
func (p *pair) ask() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond*patience())
	defer cancel()
	return get(ctx, p.client, "http://"+virtual+"/")
}

// get is the body that a URL has for a host.
func get(ctx context.Context, h *lab.Host, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// serves waits until requests are answered by a machine, and the address is there
// only.
func (p *pair) serves(t *testing.T, m *machine, why string) {
	t.Helper()
	await(t, m.name+" serves: "+why, 15*time.Second, func() bool {
		name, err := p.ask()
		return err == nil && name == m.name && m.holds(t) && !p.other(m).holds(t)
	})
}

func (p *pair) other(m *machine) *machine {
	if m == p.a {
		return p.b
	}
	return p.a
}

// holds tells whether the virtual address is on the machine.
func (m *machine) holds(t *testing.T) (held bool) {
	t.Helper()
	err := m.host.Do(func() error {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer nl.Close()
		for range 10 {
			var addrs []netlink.Addr
			addrs, err = nl.AddrList(nil, netlink.FAMILY_V4)
			held = slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.String() == virtual })
			if !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// moves does what makes the address move, and waits until the other machine
// answers, within the bound and what a busy machine adds.
func (p *pair) moves(t *testing.T, from *machine, bound time.Duration, what string, do func()) {
	t.Helper()
	last := time.Now()
	do()
	begun := time.Now()
	for {
		name, err := p.ask()
		if err == nil && name == p.other(from).name {
			break
		}
		if err == nil {
			last = time.Now()
		}
		if time.Since(begun) > bound+10*time.Second*patience() {
			t.Fatalf("%s: after %v it is still at %s (%q, %v)", what, time.Since(begun), from.name, name, err)
		}
		time.Sleep(5 * time.Millisecond * patience())
	}
	took := time.Since(begun)
	t.Logf("%s: moved after %v, no answer for %v, bound %v", what, took.Round(time.Millisecond), time.Since(last).Round(time.Millisecond), bound)
	if took > bound+room() {
		t.Errorf("%s: it moved after %v, the bound is %v", what, took, bound)
	}
}

// stays asks for a while, and wants that no other machine answers or has the
// address.
func (p *pair) stays(t *testing.T, m *machine, during time.Duration) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(20 * time.Millisecond * patience()) {
		if name, err := p.ask(); err == nil && name != m.name || !m.holds(t) {
			t.Fatalf("%s answers: want that %s goes on", name, m.name)
		}
	}
}

// says waits until the program has written text.
func (m *machine) says(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second*patience())
	defer cancel()
	if err := m.program.WaitOutput(ctx, text); err != nil {
		t.Fatal(err)
	}
}

// await waits until ok, and not for ever.
func await(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within * patience()); !ok(); time.Sleep(10 * time.Millisecond * patience()) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is still not so that %s", within*patience(), what)
		}
	}
}

// skew is how long a router of this priority waits when the Active one resigns.
func skew(priority int) time.Duration { return advert() * time.Duration(256-priority) / 256 }
