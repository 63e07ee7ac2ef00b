package health

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

var churnFor = flag.Duration("churn", 4*time.Second, "how long TestChurn goes on")

// footprint is what a process leaves in its machine.
type footprint struct {
	goroutines, descriptors, processes, timeWait int
}

// A churn is servers, scripts and configuration that come and go.
type churn struct {
	t       *testing.T
	m       *Monitor
	host    *lab.Host
	r       *rand.Rand
	servers map[int]io.Closer // by port
	print   string            // a file with a number
}

const (
	churnPorts  = 32
	churnChecks = 200
)

// addr is the n-th server, which may be there or not.
func (c *churn) addr(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(8000+n))
}

// server starts or ends a server: one that speaks HTTP, or one that accepts and says nothing.
func (c *churn) server(n int) {
	if s := c.servers[n]; s != nil {
		s.Close()
		delete(c.servers, n)
		return
	}
	ln, err := c.host.Listen("tcp", c.addr(n).String())
	if err != nil {
		return // its predecessor's connections still hold the port
	}
	if n%2 == 0 {
		s := &http.Server{
			Handler:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }),
			ReadTimeout: time.Second, IdleTimeout: time.Second,
		}
		go func() { _ = s.Serve(ln) }()
		c.servers[n] = s
		return
	}
	c.servers[n] = ln
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			time.AfterFunc(300*ms, func() { conn.Close() })
		}
	}()
}

// check is something to probe.
func (c *churn) check() Check {
	source := Source{NetNS: c.host.Path()}
	addr := c.addr(c.r.IntN(churnPorts))
	probers := []Prober{
		TCP{Addr: addr, Source: source, Reset: true},
		TCP{Addr: addr, Source: source, Reset: true, Send: "hello\n", Expect: regexp.MustCompile("ok")},
		HTTP{Addr: addr, Source: source, Reset: true},
		HTTP{Addr: addr, Source: source, Reset: true, Version: HTTPVersion(c.r.IntN(2))},
		All(TCP{Addr: addr, Source: source, Reset: true}, Not(File{Path: "/nowhere"})),
		File{Path: c.print, Test: FileNumber},
		&Process{PID: os.Getpid()},
	}
	check := Check{
		Interval: time.Duration(20+c.r.IntN(200)) * ms, Timeout: time.Duration(50+c.r.IntN(200)) * ms,
		Rise: 1 + c.r.IntN(2), Fall: 1 + c.r.IntN(2),
	}
	if n := c.r.IntN(4 * len(probers)); n < 4*len(probers)-2 {
		check.Prober = probers[n%len(probers)]
	} else {
		check.Prober, check.Interval = c.script(), time.Second
	}
	if c.r.IntN(4) == 0 {
		check.Key = fmt.Sprint(c.r.IntN(10))
	}
	if c.r.IntN(4) == 0 {
		check.MaxAge = 2 * time.Second
	}
	return check
}

// script is one that passes, fails, or does not end, with children.
func (c *churn) script() Prober {
	texts := []string{"exit 0", "exit 1", "sleep 60 & wait", "trap '' TERM; sleep 60", "echo much >&2; kill -9 $$"}
	return Script{Path: "/bin/sh", Args: []string{"-c", texts[c.r.IntN(len(texts))]}, Grace: 100 * ms}
}

// turn changes something.
func (c *churn) turn() {
	id := fmt.Sprint(c.r.IntN(churnChecks))
	switch c.r.IntN(10) {
	case 0, 1:
		c.server(c.r.IntN(churnPorts))
	case 2, 3:
		c.m.Remove(id)
	case 4:
		if err := os.WriteFile(c.print, []byte(strconv.Itoa(c.r.IntN(100))), 0o600); err != nil {
			c.t.Fatal(err)
		}
	default:
		if err := c.m.Set(id, c.check()); err != nil {
			c.t.Fatal(err)
		}
	}
}

// now is the footprint as of now.
func (c *churn) now() (f footprint) {
	f.goroutines, f.descriptors = runtime.NumGoroutine(), descriptors(c.t)
	f.processes = childProcesses(c.t)
	err := c.host.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/sockstat")
		if _, rest, ok := strings.Cut(string(text), " tw "); ok {
			f.timeWait, _ = strconv.Atoi(strings.Fields(rest)[0])
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

// childProcesses is how many processes have this one for a parent.
func childProcesses(t *testing.T) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children") // the thread may be gone
		n += len(strings.Fields(string(text)))
	}
	return n
}

// above is the largest of each.
func (f footprint) above(g footprint) footprint {
	return footprint{
		max(f.goroutines, g.goroutines), max(f.descriptors, g.descriptors),
		max(f.processes, g.processes), max(f.timeWait, g.timeWait),
	}
}

// TestChurn lets servers, scripts and configuration come and go. What the process
// holds stays flat, and in the end nothing is left. With -churn 10m it is the long run.
func TestChurn(t *testing.T) {
	span := *churnFor
	if need.Emulated() && span < time.Minute {
		span *= 2
	}
	l := labtest.New(t)
	c := &churn{t: t, host: labtest.Host(t, l, "h"), r: rand.New(rand.NewPCG(7, 8)), servers: map[int]io.Closer{}, print: t.TempDir() + "/number"}
	var changes int
	m, err := New(Config{OnChange: func(Change) { changes++ }})
	if err != nil {
		t.Fatal(err)
	}
	c.m = m
	before := c.now()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	const samples = 40
	var halves [2]footprint
	for n := range samples {
		for next := time.Now().Add(span / samples); time.Now().Before(next); time.Sleep(time.Millisecond) {
			c.turn()
		}
		if n >= samples/4 { // the first quarter fills up
			half := &halves[(n-samples/4)*2/(samples-samples/4)]
			*half = half.above(c.now())
		}
	}
	if err := cancelled(cancel, done); err != nil {
		t.Error(err)
	}
	for _, s := range c.servers {
		s.Close()
	}
	t.Logf("%d changes; before %+v, at most %+v, later %+v", changes, before, halves[0], halves[1])
	if a, b := halves[0], halves[1]; b.goroutines > 2*a.goroutines+50 || b.descriptors > 2*a.descriptors+50 || b.processes > 2*a.processes+10 || b.timeWait > 2*a.timeWait+50 {
		t.Errorf("it grows: at most %+v, later %+v", a, b)
	}
	if changes == 0 {
		t.Error("nothing has ever changed")
	}
	for patience := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		after := c.now()
		if after.goroutines <= before.goroutines && after.descriptors <= before.descriptors && after.processes <= before.processes {
			return
		}
		if time.Now().After(patience) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("left behind: %+v, before %+v\n%s", after, before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// cancelled ends a Run, and is its error.
func cancelled(cancel context.CancelFunc, done <-chan error) error {
	cancel()
	return <-done
}
