package laws

import (
	"go/ast"
	"slices"
	"testing"
)

// loops are the files that may read the clock and start goroutines, though they
// are compiled for every system. Each entry has its reason.
var loops = map[string]string{
	"health/deadline.go":       "ends probes in goroutines of their own",
	"health/run.go":            "runs the probes when they are due",
	"ipvs/userspace/engine.go": "says at what time connections come and go",
	"ipvs/drain.go":            "waits for the connections of a real server to end",
	"nat/run.go":               "keeps the rules when the kernel tells of changes",
	"vrrp/run.go":              "runs the loop and what is beside it",
	"vip/run.go":               "watches the addresses and puts them back",
	"health/tls.go":            "compares the ends of certificates with the clock",
}

// clock is what makes a function's result depend on when it is called.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// sockets are the functions of package net that touch the system; its types and
// errors are as pure as any.
var sockets = []string{
	"Dial", "DialIP", "DialTCP", "DialTimeout", "DialUDP", "DialUnix", "FileConn", "FileListener", "FilePacketConn",
	"Interfaces", "InterfaceAddrs", "InterfaceByIndex", "InterfaceByName",
	"Listen", "ListenIP", "ListenMulticastUDP", "ListenPacket", "ListenTCP", "ListenUDP", "ListenUnix", "ListenUnixgram",
	"LookupAddr", "LookupCNAME", "LookupHost", "LookupIP", "LookupMX", "LookupNS", "LookupPort", "LookupSRV", "LookupTXT",
	"ResolveIPAddr", "ResolveTCPAddr", "ResolveUDPAddr",
}

// systemPackages are what only the edge may import.
var systemPackages = []string{
	"os", "syscall", "golang.org/x/sys", "github.com/mdlayher", "github.com/vishvananda", "github.com/google/nftables",
}

// pure complains about a public package's file that touches the system, though
// it is not at the edge.
func pure(s source) (complaints []string) {
	if !s.public() || s.test() || s.edge() {
		return nil
	}
	for _, p := range s.imports() {
		if slices.ContainsFunc(systemPackages, func(sys string) bool { return within(p, sys) }) {
			complaints = append(complaints, s.path+" imports "+p+": only *_linux.go and *_other.go do")
		}
	}
	s.uses("net", sockets, func(n ast.Node, name string) {
		complaints = append(complaints, s.at(n)+" calls "+name+": only *_linux.go and *_other.go do")
	})
	return complaints
}

// timeless complains about a clock or a goroutine outside the edge and the loops.
func timeless(s source) (complaints []string) {
	if !s.public() || s.test() || s.edge() || loops[s.path] != "" {
		return nil
	}
	return clocksAndGoroutines(s)
}

func clocksAndGoroutines(s source) (complaints []string) {
	s.uses("time", clock, func(n ast.Node, name string) {
		complaints = append(complaints, s.at(n)+" uses "+name+": time is an argument (or the file is a loop, with its reason in this test)")
	})
	ast.Inspect(s.File, func(n ast.Node) bool {
		if _, ok := n.(*ast.GoStmt); ok {
			complaints = append(complaints, s.at(n)+" starts a goroutine, and the file is no loop")
		}
		return true
	})
	return complaints
}

// needless complains about an entry of loops that is not needed any more.
func needless(loops map[string]string, sources []source) (complaints []string) {
	for file := range loops {
		i := slices.IndexFunc(sources, func(s source) bool { return s.path == file })
		if i < 0 || len(clocksAndGoroutines(sources[i])) == 0 {
			complaints = append(complaints, file+" is in the list of loops and has neither clock nor goroutine")
		}
	}
	return complaints
}

func TestPureComplains(t *testing.T) {
	try(t, pure, []trial{
		{"os in a plain file", "ipvs/plan.go", `import "os"`, 1},
		{"os/exec in a plain file", "ipvs/plan.go", `import "os/exec"`, 1},
		{"x/sys in a plain file", "ipvs/plan.go", `import "golang.org/x/sys/unix"`, 1},
		{"netlink in a plain file", "ipvs/plan.go", `import "github.com/mdlayher/netlink"`, 1},
		{"a socket in a loop", "ipvs/drain.go", "import \"net\"\nvar _, _ = net.Dial(``, ``)", 1},
		{"a socket under another name", "ipvs/plan.go", "import n \"net\"\nvar _, _ = n.Listen(``, ``)", 1},
		{"an address type", "ipvs/plan.go", "import \"net\"\nvar _ net.HardwareAddr", 0},
		{"os at the edge", "ipvs/plan_linux.go", `import "os"`, 0},
		{"os on the other systems", "ipvs/plan_other.go", `import "os"`, 0},
		{"os in an example", "examples/x/main.go", `import "os"`, 0},
		{"os in a test", "ipvs/plan_test.go", `import "os"`, 0},
	})
	s := parse(t, "ipvs/plan.go", "//go:build linux\n\npackage ipvs\n\nimport \"os\"\n")
	if got := pure(s); len(got) > 0 {
		t.Errorf("a file for Linux is called impure: %q", got)
	}
}

func TestTimelessComplains(t *testing.T) {
	try(t, timeless, []trial{
		{"the clock", "ipvs/plan.go", "import \"time\"\nvar _ = time.Now()", 1},
		{"the clock as a value", "ipvs/plan.go", "import \"time\"\nvar now = time.Now", 1},
		{"a timer under another name", "vip/x.go", "import t \"time\"\nvar _ = t.NewTimer(0)", 1},
		{"a goroutine", "vip/x.go", "func f() { go f() }", 1},
		{"both in a loop", "vip/run.go", "import \"time\"\nfunc f() { go f(); _ = time.Now() }", 0},
		{"a duration", "vip/x.go", "import \"time\"\nvar _ = time.Second", 0},
		{"a variable named time", "vip/x.go", "import \"time\"\nfunc f(time struct{ Now int }) int { return time.Now }\nvar _ time.Duration", 0},
		{"the clock at the edge", "vip/x_linux.go", "import \"time\"\nvar _ = time.Now()", 0},
	})
}

func TestNeedlessComplains(t *testing.T) {
	sources := []source{
		parse(t, "a/loop.go", "package a\nfunc f() { go f() }"),
		parse(t, "a/plain.go", "package a\nfunc f() {}"),
	}
	listed := map[string]string{"a/loop.go": "it is one", "a/plain.go": "was one", "a/gone.go": "was there"}
	if got := needless(listed, sources); len(got) != 2 {
		t.Errorf("got %q, want complaints about plain.go and gone.go", got)
	}
}
