package userspace

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// proxies are the contestants of BenchmarkProxy.
var proxies = flag.String("proxies", "direct,engine,haproxy,haproxy-splice,nginx", "contestants of BenchmarkProxy, separated by commas")

// benchRounds is how often each contestant runs, in turn.
func benchRounds() int {
	if need.Emulated() {
		return 1
	}
	return 3
}

// BenchmarkProxy is the Engine beside HAProxy and nginx, all with two threads
// or processes, and beside the way without a proxy, which says what clients and
// servers can do. Each is in a process of its own, and so are all clients, and
// all servers, on one thread each. All are in one network namespace, on its
// loopback. The contestants run in turn, three rounds by default; what is
// reported are medians. "us/conn" and the like are the processor time of the proxy alone.
//
// So that ports in TIME_WAIT do not count, clients come from 16 addresses, there
// are 8 real servers, and the namespace has all ports from 1024 and lets them be
// used again (net.ipv4.tcp_tw_reuse). Clients close first, in the ordinary way.
func BenchmarkProxy(b *testing.B) {
	r := loopbackRig(b)
	var board scoreboard
	r.race(b, &board, strings.Split(*proxies, ","))
	fmt.Print(board.String())
}

// loopbackRig has all on one host.
func loopbackRig(b *testing.B) *rig {
	b.Helper()
	l := labtest.New(b)
	h := labtest.Host(b, l, "box")
	r := &rig{client: h, director: h, server: h, vip: netip.MustParseAddr("127.0.0.1"), descriptors: descriptorLimit(b)}
	for n := range 8 {
		r.servers = append(r.servers, netip.AddrFrom4([4]byte{127, 0, 1, byte(n + 1)}))
	}
	r.prepare(b)
	return r
}

// prepare sets the hosts up and starts the real servers.
func (r *rig) prepare(b *testing.B) {
	b.Helper()
	for _, h := range []*lab.Host{r.client, r.director, r.server} {
		err := h.Do(func() error {
			return writeFiles("/proc/sys/net/ipv4/", map[string]string{"ip_local_port_range": "1024 65535", "tcp_tw_reuse": "1", "ip_local_reserved_ports": "7001-7002,8100-8599"})
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	addrs := strings.Trim(fmt.Sprint(r.servers), "[]")
	awaitOutput(b, startChild(b, r.server, "servers", addrsEnv+"="+addrs), "ready")
}

func writeFiles(dir string, texts map[string]string) error {
	for name, text := range texts {
		if err := os.WriteFile(dir+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A discipline is what contestants are measured by.
type discipline struct {
	name string
	load load
	unit string  // of what is counted in a second
	per  float64 // how many make a unit
	cost string  // of the processor time for a unit
}

var disciplines = []discipline{
	{"connect", load{Kind: "connect", Conns: 64, Sources: 16}, "conn/s", 1, "us/conn"},
	{"requests/conns=1", load{Kind: "requests", Conns: 1}, "req/s", 1, "us/req"},
	{"requests/conns=100", load{Kind: "requests", Conns: 100}, "req/s", 1, "us/req"},
	{"requests/conns=1000", load{Kind: "requests", Conns: 1000}, "req/s", 1, "us/req"},
	{"streams=1", load{Kind: "streams", Conns: 1}, "MB/s", 1e6, "us/MB"},
	{"streams=100", load{Kind: "streams", Conns: 100}, "MB/s", 1e6, "us/MB"},
	{"latency", load{Kind: "latency", Conns: 50, Rate: 5000}, "req/s", 1, "us/req"},
	{"datagrams/clients=1", load{Kind: "datagrams", Conns: 1, Window: 32}, "packets/s", 1, "us/packet"},
	{"datagrams/clients=64", load{Kind: "datagrams", Conns: 64, Window: 4}, "packets/s", 1, "us/packet"},
}

// targets are where a load goes, nil if a contestant does not take part.
func (d discipline) targets(c *contestant) []netip.AddrPort {
	switch d.load.Kind {
	case "streams":
		return c.source
	case "datagrams":
		return c.packets
	}
	if c.name == "haproxy-splice" {
		return nil // splicing is of use to streams only
	}
	return c.echo
}

// race runs all disciplines.
func (r *rig) race(b *testing.B, board *scoreboard, names []string) {
	var all []*contestant
	for _, d := range disciplines {
		b.Run(d.name, func(b *testing.B) {
			if all == nil {
				all = r.startAll(b, names)
			}
			for b.Loop() {
				for range benchRounds() {
					for _, c := range all {
						if targets := d.targets(c); targets != nil {
							r.measure(b, board, d, c, targets)
						}
					}
				}
			}
			board.report(b, d.name)
		})
	}
	for _, c := range all {
		c.stop()
	}
	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			for _, name := range names {
				if name != "direct" && name != "haproxy-splice" && name != "ipvs" {
					r.idle(b, board, name)
				}
			}
		}
		board.report(b, "idle")
	})
}

func (r *rig) startAll(b *testing.B, names []string) (all []*contestant) {
	b.Helper()
	for _, name := range names {
		c := r.start(b, name)
		r.answering(b, c)
		all = append(all, c)
	}
	return all
}

// measure runs a load once.
func (r *rig) measure(b *testing.B, board *scoreboard, d discipline, c *contestant, targets []netip.AddrPort) {
	b.Helper()
	w := r.from(d.load)
	w.Targets, w.Warm, w.Span = targets, 200*time.Millisecond, time.Second
	if need.Emulated() {
		w.Warm, w.Span, w.Rate = time.Second, 3*time.Second, w.Rate/20
	}
	before := c.used(b)
	y := r.run(b, w)
	took := c.used(b).processor - before.processor
	if y.Errors > 0 {
		board.add(d.name, c.name, "errors", float64(y.Errors))
	}
	board.add(d.name, c.name, d.unit, float64(y.Count)/d.per/y.Span.Seconds())
	if c.process != nil && y.Total > 0 {
		board.add(d.name, c.name, d.cost, took.Seconds()*1e6/(float64(y.Total)/d.per))
	}
	if y.P50 > 0 {
		for unit, v := range map[string]time.Duration{"p50-us": y.P50, "p99-us": y.P99, "p99.9-us": y.P999} {
			board.add(d.name, c.name, unit, float64(v.Nanoseconds())/1000)
		}
	}
}

// from is a load that comes from several addresses on loopback only.
func (r *rig) from(w load) load {
	if !r.vip.IsLoopback() {
		w.Sources = 0
	}
	return w
}

// run runs clients to their end.
func (r *rig) run(b *testing.B, w load) (y yield) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	text, err := r.client.Run(ctx, "env", childEnv+"=load", loadEnv+"="+w.String(), self)
	if err != nil {
		b.Fatalf("%v %s", err, text)
	}
	if err := json.Unmarshal([]byte(text), &y); err != nil {
		b.Fatalf("clients printed %q: %v", text, err)
	}
	return y
}

func (w load) String() string {
	text, _ := json.Marshal(w)
	return string(text)
}

// idle is the memory of 10,000 connections, or of as many as may be: each is two
// descriptors of a proxy.
func (r *rig) idle(b *testing.B, board *scoreboard, name string) {
	b.Helper()
	n := min(10_000, (r.descriptors-2500)/2) // an Engine has a tenth of its descriptors for pipes
	if need.Emulated() {
		n = min(n, 1000)
	}
	c := r.start(b, name)
	defer c.stop()
	r.answering(b, c)
	before := c.used(b)
	w := r.from(load{Kind: "idle", Conns: n, Sources: 16, Targets: c.echo})
	p := startChild(b, r.client, "load", loadEnv+"="+w.String())
	defer p.Kill()
	awaitOutput(b, p, "idle")
	time.Sleep(time.Second) // what grows for a moment may shrink
	after := c.used(b)
	board.add("idle", name, "B/conn", float64(after.resident-before.resident)/float64(n))
	board.add("idle", name, "fd/conn", float64(after.descriptors-before.descriptors)/float64(n))
	const span = 2 * time.Second
	time.Sleep(span)
	board.add("idle", name, "%core", (c.used(b).processor-after.processor).Seconds()/span.Seconds()*100)
}

// A scoreboard has all that was measured.
type scoreboard struct {
	scores []score
}

type score struct {
	discipline, unit string
	names            []string
	values           map[string][]float64
}

func (s *scoreboard) find(discipline, unit string) *score {
	for i := range s.scores {
		if s.scores[i].discipline == discipline && s.scores[i].unit == unit {
			return &s.scores[i]
		}
	}
	s.scores = append(s.scores, score{discipline: discipline, unit: unit, values: map[string][]float64{}})
	return &s.scores[len(s.scores)-1]
}

func (s *scoreboard) add(discipline, contestant, unit string, v float64) {
	row := s.find(discipline, unit)
	if !slices.Contains(row.names, contestant) {
		row.names = append(row.names, contestant)
	}
	row.values[contestant] = append(row.values[contestant], v)
}

// median is that of a contestant; ok is false for one that did not take part.
func (s *score) median(name string) (v float64, ok bool) {
	list := slices.Sorted(slices.Values(s.values[name]))
	if len(list) == 0 {
		return 0, false
	}
	return list[len(list)/2], true
}

// report reports the medians of a discipline, and the ratios of the Engine's.
func (s *scoreboard) report(b *testing.B, discipline string) {
	for i := range s.scores {
		row := &s.scores[i]
		if row.discipline != discipline {
			continue
		}
		engine, _ := row.median("engine")
		for _, name := range row.names {
			v, _ := row.median(name)
			b.ReportMetric(v, name+"-"+row.unit)
			if name != "engine" && name != "direct" && v > 0 && engine > 0 {
				b.ReportMetric(engine/v, "engine/"+name+"-"+row.unit)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

// String is a table for people.
func (s *scoreboard) String() string {
	names := []string{"direct", "ipvs", "engine", "haproxy", "haproxy-splice", "nginx"}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !slices.ContainsFunc(s.scores, func(row score) bool { return row.values[name] != nil })
	})
	var text strings.Builder
	fmt.Fprintf(&text, "\n%-22s%-10s", "medians", "")
	for _, name := range names {
		fmt.Fprintf(&text, "%16s", name)
	}
	text.WriteString("\n")
	for i := range s.scores {
		row := &s.scores[i]
		fmt.Fprintf(&text, "%-22s%-10s", row.discipline, row.unit)
		for _, name := range names {
			if v, ok := row.median(name); ok {
				fmt.Fprintf(&text, "%16s", significant(v))
			} else {
				fmt.Fprintf(&text, "%16s", "")
			}
		}
		text.WriteString("\n")
	}
	return text.String()
}

// significant writes three digits or all before the point.
func significant(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
