package health

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

// The side by side benchmark: so many real servers in one pool, probed by TCP, of
// which some die in silence, one after the other.
const (
	benchServers = 1000
	benchDeaths  = 20
	// benchLook is how often the table is read: more often, that would be the work
	// which an emulated machine does.
	benchLook = 200 * time.Millisecond
)

// benchEvery is how often each is probed: an emulated machine cannot do more.
func benchEvery() time.Duration {
	if need.Emulated() {
		return 10 * time.Second
	}
	return time.Second
}

var benchService = ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("10.9.9.9:80")}

// benchServer is the n-th real server.
func benchServer(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), 80)
}

func init() { children["director"] = directorMain }

// directorMain is the least director: it keeps the pool in the table.
func directorMain() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := direct(ctx); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func direct(ctx context.Context) error {
	table, err := ipvs.Open(ipvs.Config{})
	if err != nil {
		return err
	}
	defer table.Close()
	if err := table.AddService(ctx, ipvs.Service{ID: benchService, Scheduler: ipvs.RR}); err != nil {
		return err
	}
	m, err := New(Config{OnChange: func(c Change) {
		addr := netip.MustParseAddrPort(c.ID)
		var err error
		switch {
		case c.To == Up:
			err = table.AddDestination(ctx, benchService, ipvs.Destination{Addr: addr, Weight: 1})
		case c.From == Up:
			err = table.RemoveDestination(ctx, benchService, addr)
		}
		if err != nil {
			fmt.Println(err)
		}
	}})
	if err != nil {
		return err
	}
	for n := range benchServers {
		err := m.Set(benchServer(n).String(), Check{
			Prober: TCP{Addr: benchServer(n), Reset: os.Getenv("HEALTH_TEST_RESET") != ""}, Interval: benchEvery(), Fall: 2,
		})
		if err != nil {
			return err
		}
	}
	go report(ctx, m)
	return m.Run(ctx)
}

// report prints every ten seconds how the Monitor fares, for the log of a benchmark that fails.
func report(ctx context.Context, m *Monitor) {
	for tick := time.NewTicker(10 * time.Second); ctx.Err() == nil; <-tick.C {
		var sum Stats
		why := map[string]int{}
		for _, s := range m.Snapshot() {
			sum.Passed += s.Stats.Passed
			sum.Failed += s.Stats.Failed
			sum.Inconclusive += s.Stats.Inconclusive
			if s.Inconclusive != nil && len(why) < 5 {
				why[s.Inconclusive.Error()]++
			}
		}
		fmt.Printf("%+v %+v %v\n", m.Load(), sum, why)
	}
}

// keepalivedPool is the same for keepalived.
func keepalivedPool() []byte {
	var conf bytes.Buffer
	fmt.Fprintf(&conf, "virtual_server 10.9.9.9 80 {\n delay_loop %d\n", int(benchEvery().Seconds()))
	conf.WriteString(" lb_algo rr\n lb_kind DR\n protocol TCP\n")
	for n := range benchServers {
		fmt.Fprintf(&conf, " real_server %v 80 {\n  TCP_CHECK {\n   connect_timeout 1\n   retry 1\n   delay_before_retry 1\n  }\n }\n", benchServer(n).Addr())
	}
	conf.WriteString("}\n")
	return conf.Bytes()
}

// BenchmarkBesideKeepalived is a pool of 1,000 real servers with a TCP check a
// second each (in the emulated machine each 10 s). An operation is 20 s of quiet, 20
// deaths, and two stops of the process that checks:
//
//	%core         processor time of the process that checks, in the quiet time
//	us/check      the same for each connection that the servers accepted
//	MB            its resident memory
//	checks/s      connections a second
//	death-med-ms  from the death of a server until it is not in the table
//	death-max-ms
//	false-quiet   living servers that were taken out in the quiet time, or had been
//	false-stop    those taken out after SIGSTOP for 2 s
//
// "lvskit-reset" ends its connections by RST, the others by FIN.
func BenchmarkBesideKeepalived(b *testing.B) {
	for _, by := range []string{"lvskit", "lvskit-reset", "keepalived"} {
		b.Run(by, func(b *testing.B) {
			need.IPVS(b)
			benchPool(b, by)
		})
	}
}

func benchPool(b *testing.B, by string) {
	l := labtest.New(b)
	lan := labtest.Switch(b, l, "lan")
	director, servers := labtest.Host(b, l, "director"), labtest.Host(b, l, "servers")
	labtest.Connect(b, director, lan, "10.0.0.1/24")
	labtest.Connect(b, servers, lan, "10.0.0.2/24")
	if err := director.Route(netip.MustParsePrefix("10.1.0.0/16"), netip.MustParseAddr("10.0.0.2")); err != nil {
		b.Fatal(err)
	}
	labtest.Run(b, servers, "ip", "route", "add", "local", "10.1.0.0/16", "dev", "lo")
	accepted := benchAccept(b, servers)
	table, err := ipvs.Open(ipvs.Config{NetNS: director.Path()})
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	pid := benchDirector(b, director, by)
	patience := time.Now().Add(4 * time.Minute)
	for len(benchTable(b, table)) < benchServers {
		if time.Now().After(patience) {
			b.Fatalf("%d real servers are in the table", len(benchTable(b, table)))
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(5 * time.Second)
	for b.Loop() {
		const span = 20 * time.Second
		ticks, checks := processTicks(b, pid), accepted()
		time.Sleep(span)
		ticks, checks = processTicks(b, pid)-ticks, accepted()-checks
		b.ReportMetric(float64(ticks)/100/span.Seconds()*100, "%core") // USER_HZ is 100
		b.ReportMetric(float64(ticks)*10_000/float64(checks), "us/check")
		b.ReportMetric(float64(checks)/span.Seconds(), "checks/s")
		b.ReportMetric(residentMB(b, pid), "MB")
		b.ReportMetric(float64(benchServers-len(benchTable(b, table))), "false-quiet")
		deaths := benchKill(b, servers, table)
		b.ReportMetric(float64(deaths[len(deaths)/2].Milliseconds()), "death-med-ms")
		b.ReportMetric(float64(deaths[len(deaths)-1].Milliseconds()), "death-max-ms")
		wrong := benchStop(b, pid, table)
		b.ReportMetric(float64(wrong), "false-stop")
		if wrong > 0 && by != "keepalived" {
			b.Errorf("%d living servers were taken out", wrong)
		}
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

// benchAccept accepts, closes when the other side has, and counts.
func benchAccept(b *testing.B, h *lab.Host) (count func() int64) {
	b.Helper()
	ln, err := h.Listen("tcp", "0.0.0.0:80")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	n := make(chan int64, 1)
	n <- 0
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n <- <-n + 1
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 1))
			}()
		}
	}()
	return func() int64 { v := <-n; n <- v; return v }
}

// benchDirector starts what checks, and returns its process.
func benchDirector(b *testing.B, h *lab.Host, by string) (pid int) {
	b.Helper()
	if by != "keepalived" {
		self, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		env := []string{childEnv + "=director"}
		if by == "lvskit-reset" {
			env = append(env, "HEALTH_TEST_RESET=1")
		}
		p, err := h.Start("env", append(env, self)...)
		if err != nil {
			b.Fatal(err)
		}
		return p.Pid()
	}
	need.Program(b, "keepalived")
	dir := b.TempDir()
	file, pids := filepath.Join(dir, "keepalived.conf"), filepath.Join(dir, "checkers.pid")
	if err := os.WriteFile(file, keepalivedPool(), 0o600); err != nil {
		b.Fatal(err)
	}
	if _, err := h.Start("keepalived", "-n", "-l", "-C", "-f", file, "-p", filepath.Join(dir, "pid"), "-c", pids); err != nil {
		b.Fatal(err)
	}
	for patience := time.Now().Add(time.Minute); time.Now().Before(patience); time.Sleep(50 * time.Millisecond) {
		if text, err := os.ReadFile(pids); err == nil {
			if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				return pid
			}
		}
	}
	b.Fatal("keepalived wrote no checkers.pid")
	return 0
}

// benchTable is which real servers are in the table.
func benchTable(b *testing.B, table *ipvs.Client) map[netip.AddrPort]bool {
	b.Helper()
	in := map[netip.AddrPort]bool{}
	services, err := table.Services(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range services {
		for _, d := range s.Destinations {
			in[d.Addr] = true
		}
	}
	return in
}

// benchKill lets servers die in silence, one a while after the other, and returns,
// in order of length, how long they have stayed in the table.
func benchKill(b *testing.B, servers *lab.Host, table *ipvs.Client) (deaths []time.Duration) {
	b.Helper()
	died := map[netip.AddrPort]time.Time{}
	next := time.Now()
	for patience := time.Now().Add(2 * time.Minute); len(deaths) < benchDeaths; time.Sleep(benchLook) {
		if n := len(died) + len(deaths); n < benchDeaths && time.Now().After(next) {
			victim := benchServer(n*37 + 11)
			labtest.Run(b, servers, "ip", "route", "add", "blackhole", victim.Addr().String(), "table", "local")
			died[victim] = time.Now()
			next = time.Now().Add(370 * time.Millisecond)
		}
		in := benchTable(b, table)
		for addr, since := range died {
			if !in[addr] {
				deaths = append(deaths, time.Since(since))
				delete(died, addr)
			}
		}
		if time.Now().After(patience) {
			b.Fatalf("%d of the dead are in the table after 2 minutes", len(died))
		}
	}
	slices.Sort(deaths)
	return deaths
}

// benchStop stops the process for 2 s, twice, and returns how many servers have been
// missing since, of those that were in the table.
func benchStop(b *testing.B, pid int, table *ipvs.Client) int {
	b.Helper()
	before, missing := benchTable(b, table), map[netip.AddrPort]bool{}
	for range 2 {
		for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			if err := syscall.Kill(pid, s); err != nil {
				b.Fatal(err)
			}
			if s == syscall.SIGSTOP {
				time.Sleep(2 * time.Second)
			}
		}
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(benchLook) {
			in := benchTable(b, table)
			for addr := range before {
				if !in[addr] {
					missing[addr] = true
				}
			}
		}
	}
	return len(missing)
}

// processTicks is the processor time of a process, in 1/100 s.
func processTicks(b *testing.B, pid int) (ticks int) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	for _, n := range []int{11, 12} { // utime, stime
		v, _ := strconv.Atoi(f[n])
		ticks += v
	}
	return ticks
}

// residentMB is the memory of a process.
func residentMB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(f[1])
			return float64(kb) / 1024
		}
	}
	return 0
}
