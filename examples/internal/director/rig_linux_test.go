package director

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// network is 192.168.247.0/24, or fd00:247::/64 in which the numbers are read as
// hexadecimal ones.
type network struct{ ipv6 bool }

func (n network) addr(host int) netip.Addr {
	if n.ipv6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:247::%d", host))
	}
	return netip.AddrFrom4([4]byte{192, 168, 247, byte(host)})
}

func (n network) prefix(host int) string {
	if n.ipv6 {
		return n.addr(host).String() + "/64"
	}
	return n.addr(host).String() + "/24"
}

// rig is a client, two directors and some real servers on one switch, all of
// them up, with nothing of LVS yet but on the real servers.
type rig struct {
	*testing.T
	network
	plane     string // of the directors
	target    string // the virtual address and port
	lan       *lab.Switch
	client    *lab.Host
	directors []*machine
	servers   []*server
	program   string
	doc       object // of all directors
}

// machine is where a director runs.
type machine struct {
	*rig
	*lab.Host
	link *lab.Link
	file string
	run  string
	args []string // besides -config and -run
	own  object   // what differs from the rig's doc
	*lab.Process
}

// object is a part of the configuration.
type object map[string]any

func (o object) with(name string, value any) object {
	o = maps.Clone(o)
	o[name] = value
	return o
}

// newRig makes a rig of direct routing with n real servers, each with a TCP check.
func newRig(t *testing.T, n int) *rig {
	t.Helper()
	return newRigOf(t, Kernel, network{}, n)
}

// onEach runs a test with each dataplane: the kernel where it has IPVS, userspace
// where that is not emulated.
func onEach(t *testing.T, test func(t *testing.T, plane string)) {
	for _, plane := range []string{Kernel, Userspace} {
		t.Run(plane, func(t *testing.T) { test(t, plane) })
	}
}

func newRigOf(t *testing.T, plane string, net network, n int) *rig {
	t.Helper()
	if plane == Kernel {
		need.IPVS(t)
		need.Program(t, "ipvsadm")
	} else if need.Emulated() {
		t.Skip("it needs nothing that only this machine has")
	}
	need.Program(t, "ip")
	l := labtest.New(t)
	r := &rig{
		T: t, plane: plane, network: net, target: netip.AddrPortFrom(net.addr(188), 80).String(),
		program: bin.Path(t, "director"), lan: labtest.Switch(t, l, "lan"), client: labtest.Host(t, l, "client"),
	}
	labtest.Connect(t, r.client, r.lan, net.prefix(134))
	for i := range 2 {
		h := labtest.Host(t, l, fmt.Sprintf("director%d", i+1))
		m := &machine{rig: r, Host: h, own: object{}, file: filepath.Join(t.TempDir(), "director.json"), run: t.TempDir()}
		m.args = []string{"-dataplane", plane}
		if plane == Userspace {
			m.args = append(m.args, "-metrics", "127.0.0.1:9100") // to see the table
		}
		m.link = labtest.Connect(t, h, r.lan, net.prefix(131+i))
		r.directors = append(r.directors, m)
	}
	for i := range n {
		h := labtest.Host(t, l, fmt.Sprintf("server%d", i+1))
		s := &server{t: t, Host: h, addr: net.addr(135 + i), vip: net.addr(188).String()}
		labtest.Connect(t, h, r.lan, net.prefix(135+i))
		if plane == Kernel {
			setting(t, h, "net/ipv4/conf/all/arp_ignore=1")
			setting(t, h, "net/ipv4/conf/all/arp_announce=2")
			s.holdVIP("lo")
		}
		s.start()
		r.servers = append(r.servers, s)
	}
	r.doc = object{"services": []object{r.service()}}
	return r
}

// service is the virtual service with these real servers, or all.
func (r *rig) service(servers ...*server) object {
	reals := []object{}
	for _, s := range r.servers {
		if len(servers) == 0 || slices.Contains(servers, s) {
			reals = append(reals, object{"addr": s.real(), "weight": 2})
		}
	}
	return object{
		"vip": r.target, "scheduler": "rr", "forward": r.forward(), "real": reals, "drain": "40s",
		"check": object{"kind": "tcp", "interval": "500ms", "retry": "300ms", "timeout": "2s", "rise": 1, "fall": 2},
	}
}

// forward is how the directors forward, as in their configuration.
func (r *rig) forward() string { return map[string]string{Kernel: "dr", Userspace: "nat"}[r.plane] }

// option is the same for ipvsadm.
func (r *rig) option() string { return map[string]string{Kernel: "-g", Userspace: "-m"}[r.plane] }

// slowest is when a server that died must be out: an interval, a retry, the timeouts
// of two probes, and some patience. A machine that is emulated may be so busy that
// probes are late and tell nothing (health.ErrInconclusive).
func slowest() time.Duration {
	if need.Emulated() {
		return time.Minute
	}
	return 500*time.Millisecond + 300*time.Millisecond + 2*2*time.Second + 2*time.Second
}

// pair makes the two directors one cluster, of which the first is preferred.
func (r *rig) pair() {
	for i, m := range r.directors {
		m.own["vrrp"] = object{"vrid": 51, "priority": 200 - 100*i, "interval": "1s", "preempt_delay": "0s"}
		if r.plane == Kernel {
			m.own["sync"] = object{"id": 7}
		}
	}
}

// write writes a director's configuration.
func (m *machine) write() {
	m.Helper()
	all := maps.Clone(m.doc)
	maps.Copy(all, m.own)
	text, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = os.WriteFile(m.file, text, 0o644)
	}
	if err != nil {
		m.Fatal(err)
	}
}

// start starts the director and waits until it is ready.
func (m *machine) start() {
	m.Helper()
	m.write()
	m.Process = labtest.Start(m.T, m.Host, "ready\n", m.program, append(m.args, "-config", m.file, "-run", m.run)...)
}

// reload gives the directors another configuration.
func (r *rig) reload(service object) {
	r.Helper()
	r.doc = r.doc.with("services", []object{service})
	for _, m := range r.directors {
		if m.Process == nil {
			continue
		}
		seen := strings.Count(m.Output(), "reloaded\n")
		m.write()
		m.hup()
		r.until(m.Host.Name()+" has reloaded", func() bool { return strings.Count(m.Output(), "reloaded\n") > seen })
	}
}

func (m *machine) hup() {
	m.Helper()
	if err := m.Signal(syscall.SIGHUP); err != nil {
		m.Fatal(err)
	}
}

// stop ends the director as systemd would.
func (m *machine) stop() {
	m.Helper()
	if err := m.Signal(syscall.SIGTERM); err != nil {
		m.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(m.Context(), time.Minute)
	defer cancel()
	if err := m.Wait(ctx); err != nil {
		m.Fatalf("%s: %v\n%s", m.Process, err, m.Output())
	}
}

// says waits until the director has written text.
func (m *machine) says(text string) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), time.Minute)
	defer cancel()
	if err := m.WaitOutput(ctx, text); err != nil {
		m.Fatal(err)
	}
}

// table is the director's table as ipvsadm has it, or would have it.
func (m *machine) table() string {
	m.Helper()
	if m.plane == Kernel {
		return labtest.Run(m.T, m.Host, "ipvsadm", "-S", "-n")
	}
	var all strings.Builder
	for _, weight := range weights.FindAllStringSubmatch(m.get(), -1) {
		real := netip.AddrPortFrom(netip.MustParseAddr(weight[1]), 80)
		fmt.Fprintf(&all, "-a -t %s -r %s -m -w %s\n", m.target, real, weight[2])
	}
	return all.String()
}

// weights are the metrics of a table.
var weights = regexp.MustCompile(`(?m)^lvskit_ipvs_destination_weight\{.*remote_address="(.*?)".*\} (\d+)$`)

// knows tells whether the other director has told of a connection.
func (m *machine) knows(l *long) bool {
	m.Helper()
	table, err := ipvs.Open(ipvs.Config{NetNS: m.Path()})
	if err != nil {
		m.Fatal(err)
	}
	defer table.Close()
	for conn, err := range table.Connections(m.Context()) {
		if err != nil {
			m.Fatal(err)
		}
		if conn.Client == l.from && conn.Origin == ipvs.OriginSync && conn.State == ipvs.StateEstablished {
			return true
		}
	}
	return false
}

// holds tells whether the director has the virtual address.
func (m *machine) holds() bool {
	m.Helper()
	return strings.Contains(labtest.Run(m.T, m.Host, "ip", "-o", "address", "show", "dev", "eth0"), m.addr(188).String()+"/")
}

// until polls.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	r.within(time.Minute, what, ok)
}

// within polls, and answers how long it took.
func (r *rig) within(limit time.Duration, what string, ok func() bool) time.Duration {
	r.Helper()
	begun := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(begun) > limit {
			r.Fatalf("after %v it is not so that %s", limit, what)
		}
		<-tick.C
	}
	return time.Since(begun)
}

// served waits until each director's table has, or has not, this real server in the
// virtual service.
func (r *rig) served(s *server, want bool, limit time.Duration) time.Duration {
	r.Helper()
	return r.within(limit, fmt.Sprintf("%s in the table: %v", s.Name(), want), func() bool {
		for _, m := range r.directors {
			if m.Process != nil && strings.Contains(m.table(), "-a -t "+r.target+" -r "+s.real()) != want {
				return false
			}
		}
		return true
	})
}

// interfaceIndex is a number that no two interfaces ever share.
var interfaceIndex = regexp.MustCompile(`(?m)^\d+: `)

// state is all that a director may change.
func (m *machine) state() string {
	m.Helper()
	var all strings.Builder
	commands := [][]string{{"ip", "-o", "address"}, {"ip", "-o", "link"}}
	if m.plane == Kernel {
		commands = append(commands, []string{"ipvsadm", "-S", "-n"}, []string{"ipvsadm", "-L", "--daemon"})
	}
	for _, args := range commands {
		all.WriteString(interfaceIndex.ReplaceAllString(labtest.Run(m.T, m.Host, args[0], args[1:]...), ""))
	}
	err := m.Do(func() error {
		return filepath.WalkDir("/proc/sys/net", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, "_count") {
				return err
			}
			if value, err := os.ReadFile(path); err == nil {
				fmt.Fprintf(&all, "%s = %s\n", path, strings.TrimSpace(string(value)))
			}
			return nil
		})
	})
	if err != nil {
		m.Fatal(err)
	}
	return all.String()
}

// same compares two states.
func (m *machine) same(what, before, after string) {
	m.Helper()
	for _, side := range []struct{ mark, have, other string }{{"-", before, after}, {"+", after, before}} {
		for line := range strings.Lines(side.have) {
			if !strings.Contains(side.other, line) {
				m.Errorf("%s, %s: %s%s", m.Host.Name(), what, side.mark, line)
			}
		}
	}
}
