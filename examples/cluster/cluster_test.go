package main

import (
	"context"
	"errors"
	"fmt"
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
)

func TestMain(m *testing.M) { labtest.Main(m) }

// examples are the compiled programs.
type examples struct{ director, realserver string }

func compiled(t *testing.T) examples {
	t.Helper()
	need.IPVS(t)
	return examples{bin.Path(t, "director"), bin.Path(t, "realserver")}
}

// newTestCluster connects the hosts; the machine of its network is up, LVS is not.
func newTestCluster(t *testing.T, mode string, ipv6 bool) *cluster {
	t.Helper()
	need.IPVS(t)
	c, err := newCluster(labtest.New(t), mode, ipv6)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// startAll starts the real servers, their pages, and the director.
func (c *cluster) startAll(t *testing.T, p examples, s service) {
	t.Helper()
	c.startServers(t, p)
	c.startDirector(t, p, s)
}

func (c *cluster) startServers(t *testing.T, p examples) {
	t.Helper()
	if c.mode != "nat" {
		for i, s := range c.servers {
			labtest.Start(t, s, "ready\n", p.realserver, append(c.serverArgs(i), "-run", t.TempDir())...)
		}
	}
	if err := c.serve(); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) startDirector(t *testing.T, p examples, s service) *lab.Process {
	t.Helper()
	return labtest.Start(t, c.director, "ready\n", p.director, append(c.args(t, s), "-run", t.TempDir())...)
}

// args are the flags of a director for this service.
func (c *cluster) args(t *testing.T, s service) []string {
	t.Helper()
	dir := t.TempDir() // anybody may read it
	args, err := c.directorArgs(filepath.Join(dir, "director.json"), s)
	if err := errors.Join(err, os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return args
}

// asks sends n requests and returns the pages in order.
func (c *cluster) asks(t *testing.T, protocol string, n int) (got []string) {
	t.Helper()
	for i := range n {
		page, err := c.get(t.Context(), protocol)
		if err != nil {
			t.Fatalf("request %d: %v", i+1, err)
		}
		if !slices.Contains(pages, page) {
			t.Fatalf("request %d answered %q, which is no page of a real server", i+1, page)
		}
		got = append(got, page)
	}
	return got
}

func TestEveryModeProtocolAndFamilySpreadsRequests(t *testing.T) {
	p := compiled(t)
	for _, mode := range []string{"dr", "nat", "tun"} {
		for _, ipv6 := range []bool{false, true} {
			family := map[bool]string{false: "IPv4", true: "IPv6"}[ipv6]
			t.Run(mode+"/"+family, func(t *testing.T) {
				c := newTestCluster(t, mode, ipv6)
				c.startServers(t, p)
				for _, protocol := range []string{"tcp", "udp"} {
					s := c.service("rr")
					s.Protocol = protocol
					d := c.startDirector(t, p, s)
					got := c.asks(t, protocol, 6)
					for i := 1; i < len(got); i++ {
						if got[i] == got[i-1] {
							t.Errorf("%s: requests %d and %d were both answered by %q; round robin alternates", protocol, i, i+1, got[i])
						}
					}
					stop(t, d)
				}
			})
		}
	}
}

// stop ends a program as systemd would, and it must end well.
func stop(t *testing.T, p *lab.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Fatalf("%s: %v\n%s", p, err, p.Output())
	}
}

func TestTunnelsOfEveryKind(t *testing.T) {
	p := compiled(t)
	for _, tt := range []struct{ name, director, server, gue string }{
		{"gre", "gre", "gre", ""},
		{"gue", "gue:6080", "ipip", "6080"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.gue != "" {
				need.Module(t, "fou") // the kernel does not load it by itself
			}
			c := newTestCluster(t, "tun", false)
			for i, s := range c.servers {
				args := append(c.serverArgs(i), "-tunnel", tt.server, "-run", t.TempDir())
				if tt.gue != "" {
					args = append(args, "-gue", tt.gue)
				}
				labtest.Start(t, s, "ready\n", p.realserver, args...)
			}
			if err := c.serve(); err != nil {
				t.Fatal(err)
			}
			s := c.service("rr")
			s.Tunnel = tt.director
			c.startDirector(t, p, s)
			if got := count(c.asks(t, "tcp", 4)); got[pages[0]] != 2 || got[pages[1]] != 2 {
				t.Errorf("4 requests were spread as %v, want 2 each", got)
			}
		})
	}
}

func count(pages []string) map[string]int {
	n := map[string]int{}
	for _, p := range pages {
		n[p]++
	}
	return n
}

func TestWeightedRoundRobinKeepsToTheWeights(t *testing.T) {
	c, p := newTestCluster(t, "dr", false), compiled(t)
	c.startAll(t, p, c.service("wrr", 3, 1))
	if got := count(c.asks(t, "tcp", 8)); got[pages[0]] != 6 || got[pages[1]] != 2 {
		t.Errorf("8 requests with weights 3 and 1 were spread as %v, want 6 and 2", got)
	}
}

func TestPersistenceKeepsAClientAtOneServer(t *testing.T) {
	c, p := newTestCluster(t, "dr", false), compiled(t)
	s := c.service("rr")
	s.Persistence = "60s"
	c.startAll(t, p, s)
	if got := count(c.asks(t, "tcp", 6)); len(got) != 1 {
		t.Errorf("6 requests of one client were spread as %v, want one real server", got)
	}
}

// TestListingIsThatOfTheTutorial compares with what the tutorial prints after
// its ipvsadm commands. The connections are those of the moment.
func TestListingIsThatOfTheTutorial(t *testing.T) {
	c, p := newTestCluster(t, "dr", false), compiled(t)
	need.Program(t, "ipvsadm")
	c.startAll(t, p, c.service("rr"))
	const want = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.247.188:80 rr
  -> 192.168.247.135:80           Route   1      0          0         
  -> 192.168.247.136:80           Route   1      0          0         
`
	if got := labtest.Run(t, c.director, "ipvsadm", "-Ln"); got != want {
		t.Errorf("ipvsadm -Ln printed\n%s\nwant\n%s", got, want)
	}
}

var replyFrom = regexp.MustCompile(`reply from \S+ \[([0-9A-Fa-f:]+)\]`)

// whoHas asks the network by ARP who has the virtual address.
func (c *cluster) whoHas(t *testing.T) []string {
	t.Helper()
	// -b keeps asking everybody; arping fails where nobody answers.
	out, _ := c.client.Run(t.Context(), "arping", "-b", "-c", "3", "-w", "5", "-I", "eth0", c.vip.String())
	var macs []string
	for _, m := range replyFrom.FindAllStringSubmatch(out, -1) {
		macs = append(macs, strings.ToLower(m[1]))
	}
	slices.Sort(macs)
	return slices.Compact(macs)
}

func TestOnlyTheDirectorAnswersARP(t *testing.T) {
	p := compiled(t)
	need.Program(t, "arping")
	t.Run("without suppression a real server answers too", func(t *testing.T) {
		c := newTestCluster(t, "dr", false)
		labtest.Run(t, c.servers[0], "ip", "address", "add", c.vip.String()+"/32", "dev", "lo")
		c.startDirector(t, p, c.service("rr"))
		want := []string{c.ports[c.director].MAC().String(), c.ports[c.servers[0]].MAC().String()}
		slices.Sort(want)
		if got := c.whoHas(t); !slices.Equal(got, want) {
			t.Errorf("%s was answered by %v, want the director and the real server %v", c.vip, got, want)
		}
	})
	t.Run("with it the director alone", func(t *testing.T) {
		c := newTestCluster(t, "dr", false)
		c.startAll(t, p, c.service("rr"))
		if got, want := c.whoHas(t), []string{c.ports[c.director].MAC().String()}; !slices.Equal(got, want) {
			t.Errorf("%s was answered by %v, want %v", c.vip, got, want)
		}
	})
}

func TestPlanPrintsWhatWouldChangeAndChangesNothing(t *testing.T) {
	c, p := newTestCluster(t, "dr", false), compiled(t)
	before := state(t, c.director)
	out := labtest.Run(t, c.director, p.director, append(c.args(t, c.service("rr")), "-plan", "-run", t.TempDir())...)
	for _, line := range []string{
		"sysctl -w net/ipv4/conf/all/send_redirects=0",
		"ipvsadm -A -t 192.168.247.188:80 -s rr",
		"ipvsadm -a -t 192.168.247.188:80 -r 192.168.247.135:80 -g -w 1",
		"ip address add 192.168.247.188/32 dev eth0",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("the plan lacks %q:\n%s", line, out)
		}
	}
	if after := state(t, c.director); after != before {
		t.Errorf("-plan changed the director from\n%s\nto\n%s", before, after)
	}
}

func TestTheDemonstrationRuns(t *testing.T) {
	need.IPVS(t)
	program := bin.Path(t, "cluster")
	l := labtest.New(t)
	h := labtest.Host(t, l, "machine")
	out := labtest.Run(t, h, program, "-mode", "dr", "-requests", "2")
	for _, want := range append([]string{"TCP 192.168.247.188:80 rr"}, pages...) {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

// interfaceIndex is a number that no two interfaces ever share.
var interfaceIndex = regexp.MustCompile(`(?m)^\d+: `)

// state is all that the programs may change on a host.
func state(t *testing.T, h *lab.Host) string {
	t.Helper()
	rules := labtest.Run(t, h, "ipvsadm", "-S", "-n")
	links := interfaceIndex.ReplaceAllString(labtest.Run(t, h, "ip", "-o", "link", "show"), "")
	addresses := interfaceIndex.ReplaceAllString(labtest.Run(t, h, "ip", "-o", "address", "show"), "")
	settings, err := readSettings(h)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s\n%s\n%s\n%s", rules, links, addresses, settings)
}
