package nat

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkMemory loads 100,000 published ports once.
//
//	peak-MB    by how much this process grew at most, or what the program that was
//	           started had at most; that of lvskit-iptables and knftables is without
//	           their programs
//	kept-MB    what stays in the heap of this process
//	kernel-MB  by how much the kernel's memory grew: slabs, vmalloc and counters of all
//	           of the machine, which says something only where nothing else runs
func BenchmarkMemory(b *testing.B) {
	n := benchCount(100_000)
	rules := benchPorts(n, 0)
	var board scoreboard
	discipline := fmt.Sprintf("load %d", n)
	for b.Loop() {
		for _, c := range quick(enlist(b, hosts(b))) {
			run := c.replace(rules)
			if c.programs != nil {
				c.programs.watched = true
			}
			kernel, heap := kernelMemory(b), heapInUse()
			debug.FreeOSMemory()
			must(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // forget VmHWM
			before := procKB(b, "/proc/self/status", "VmRSS")
			board.cost(discipline, c.name, clock(b, run), 1)
			peak := procKB(b, "/proc/self/status", "VmHWM") - before
			if c.programs != nil {
				peak = c.programs.most
			}
			board.add(discipline, c.name, "peak-MB", float64(peak)/1e6)
			if c.programs == nil {
				board.add(discipline, c.name, "kept-MB", float64(int64(heapInUse()-heap))/1e6)
				runtime.KeepAlive(run)
			}
			time.Sleep(time.Second) // what is freed after a grace period
			board.add(discipline, c.name, "kernel-MB", float64(int64(kernelMemory(b)-kernel))/1e6)
			c.has(b, n)
			must(b, c.replace(nil)())
		}
	}
	board.report(b, discipline)
	fmt.Print(board.String())
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// kernelMemory is what the kernel has for itself that rules can be in.
func kernelMemory(b *testing.B) uint64 {
	b.Helper()
	return procKB(b, "/proc/meminfo", "Slab", "VmallocUsed", "Percpu")
}

func procKB(b *testing.B, file string, names ...string) uint64 {
	b.Helper()
	sum, err := readKB(file, names...)
	must(b, err)
	return sum
}

// readKB is the sum of lines of a file in /proc, in bytes.
func readKB(file string, names ...string) (sum uint64, err error) {
	text, err := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if fields := strings.Fields(rest); slices.Contains(names, name) && len(fields) > 0 {
			kb, _ := strconv.ParseUint(fields[0], 10, 64)
			sum += kb << 10
		}
	}
	return sum, err
}
