package vrrp

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// benchRouters is how many virtual routers are on one link, at 100 ms.
const benchRouters = 250

// benchEnv makes a test binary a program that runs Routers until it is killed:
// "master" or "backup".
const benchEnv = "VRRP_BENCH_ROLE"

func benchMain(role string) {
	var routers []*Router
	for n := range benchRouters {
		priority := 100
		if role == "master" {
			priority = 200
		}
		r, err := New(Config{
			Interface: "eth0", VRID: uint8(n + 1), Priority: uint8(priority), Interval: 100 * time.Millisecond,
			Addresses: addrs(fmt.Sprintf("10.1.0.%d", n+1)),
		})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		routers = append(routers, r)
	}
	var err error
	if os.Getenv("VRRP_BENCH_APART") != "" {
		done := make(chan error)
		for _, r := range routers {
			go func() { done <- r.Run(context.Background()) }()
		}
		err = <-done
	} else {
		err = Run(context.Background(), routers...)
	}
	fmt.Println(err)
	os.Exit(1)
}

// BenchmarkProcessorTime is the processor time of 250 virtual routers on one link at
// 100 ms, in percent of one core: of the process, and of the machine in soft
// interrupts, which the packets of both sides cause. The peer is always lvskit.
// "apart" is one Run, and so one socket and thread, for each Router.
func BenchmarkProcessorTime(b *testing.B) {
	for _, role := range []string{"master", "backup"} {
		for _, who := range []string{"lvskit", "lvskit-apart", "keepalived"} {
			b.Run(who+"/"+role, func(b *testing.B) { processorTime(b, who, role) })
		}
	}
}

func processorTime(b *testing.B, who, role string) {
	l := labtest.New(b)
	lan := labtest.Switch(b, l, "lan")
	h, peer := labtest.Host(b, l, "h"), labtest.Host(b, l, "peer")
	labtest.Connect(b, h, lan, "10.0.0.1/16")
	labtest.Connect(b, peer, lan, "10.0.0.2/16")
	other := map[string]string{"master": "backup", "backup": "master"}[role]
	startBench(b, peer, other)
	var pid int
	switch who {
	case "keepalived":
		need.Program(b, "keepalived")
		pid = startKeepalived(b, h, role)
	case "lvskit-apart":
		pid = startBench(b, h, role, "VRRP_BENCH_APART=1")
	default:
		pid = startBench(b, h, role)
	}
	time.Sleep(20 * time.Second) // elections, and the announcements after them
	for b.Loop() {
		const span = 20 * time.Second
		own, soft := benchTicks(b, pid), softTicks(b)
		time.Sleep(span)
		hz := 100.0 // USER_HZ
		b.ReportMetric(float64(benchTicks(b, pid)-own)/hz/span.Seconds()*100, "%cpu")
		b.ReportMetric(float64(softTicks(b)-soft)/hz/span.Seconds()*100, "%softirq")
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(f[1])
			b.ReportMetric(float64(kb)/1024, "MB")
		}
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

// startBench runs this binary as 250 Routers on a host.
func startBench(b *testing.B, h *lab.Host, role string, env ...string) (pid int) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	args := append([]string{benchEnv + "=" + role}, env...)
	p, err := h.Start("env", append(args, self)...)
	if err != nil {
		b.Fatal(err)
	}
	return p.Pid()
}

// startKeepalived runs keepalived and returns the process of its VRRP.
func startKeepalived(b *testing.B, h *lab.Host, role string) (pid int) {
	b.Helper()
	priority, dir := 100, b.TempDir()
	if role == "master" {
		priority = 200
	}
	var conf bytes.Buffer
	conf.WriteString("global_defs {\n vrrp_garp_master_delay 0\n vrrp_garp_master_repeat 1\n}\n")
	for n := range benchRouters {
		fmt.Fprintf(&conf, "vrrp_instance v%d {\n state BACKUP\n version 3\n interface eth0\n virtual_router_id %d\n priority %d\n advert_int 0.1\n virtual_ipaddress {\n 10.1.0.%d\n }\n}\n",
			n+1, n+1, priority, n+1)
	}
	file := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	vrrpPID := filepath.Join(dir, "vrrp.pid")
	if _, err := h.Start("keepalived", "-n", "-l", "-f", file, "-p", filepath.Join(dir, "pid"), "-r", vrrpPID, "-c", filepath.Join(dir, "checkers.pid"), "--vrrp"); err != nil {
		b.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if text, err := os.ReadFile(vrrpPID); err == nil {
			if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				return pid
			}
		}
	}
	b.Fatal("keepalived wrote no vrrp.pid")
	return 0
}

// benchTicks is the processor time of a process, user and system, in 1/100 s.
func benchTicks(b *testing.B, pid int) (ticks int) {
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

// softTicks is the time of all processors in soft interrupts.
func softTicks(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	v, _ := strconv.Atoi(strings.Fields(string(text))[7])
	return v
}
