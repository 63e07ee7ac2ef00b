package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lvskit/lvskit/internal/vm"
)

// guests runs the tests in a machine of each kernel. A machine is emulated by one
// thread (see internal/vm), so those of all kernels run side by side, except for
// benchmarks. What the first one's tests do is printed at once, the others'
// after it.
func (s *session) guests(ctx context.Context) {
	tests, ok := s.compile(ctx)
	if !ok {
		return
	}
	var all []*guest
	for i, series := range s.kernels {
		g := &guest{session: s, report: s.report}
		m, err := s.machine(ctx, series)
		if err != nil {
			s.fail("machine "+series, "a machine with kernel "+series, err.Error())
			continue
		}
		if i > 0 && s.bench == "" {
			g.report = newReport(&g.printed, s.options.verbose)
		}
		g.series, g.machine = series, m
		all = append(all, g)
	}
	var side sync.WaitGroup
	for _, g := range all {
		if s.bench != "" {
			g.test(ctx, tests)
		} else {
			side.Go(func() { g.test(ctx, s.share(tests, g.series)) })
		}
	}
	side.Wait()
	for _, g := range all {
		if g.report != s.report {
			s.join(g.report, g.printed.String())
		}
	}
}

// A program is the compiled tests of a package.
type program struct {
	pkg
	n int // its files inside are named by it
}

// compile compiles the tests of all packages. Those of ipvs get the race detector
// (the machine has this one's C library), unless they are to be measured: here they
// cannot meet IPVS with it. It makes the others, which have had it here, twice as
// slow: they are compiled without cgo.
func (s *session) compile(ctx context.Context) ([]program, bool) {
	defer s.stage("compile the tests for the machine")()
	dir, err := s.mkdir("in", "test")
	if err != nil {
		s.fail("vm", "compile", err.Error())
		return nil, false
	}
	var programs []program
	for _, p := range s.packages {
		if !p.hasTests() || ctx.Err() != nil {
			continue
		}
		n := len(programs)
		race := s.bench == "" && s.module.short(p.ImportPath) == "ipvs"
		cmd := goCommand(ctx, s.module.Dir, "test", "-c", "-vet=off", "-race="+strconv.FormatBool(race), "-o", filepath.Join(dir, strconv.Itoa(n)), p.ImportPath)
		cmd.Env = append(cmd.Env, "GOOS=linux", "CGO_ENABLED=0")
		if race {
			cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			s.fail("build: "+s.module.short(p.ImportPath), "compile the tests of "+s.module.short(p.ImportPath), string(out))
			continue
		}
		programs = append(programs, program{p, n})
	}
	s.programs(ctx)
	s.line("ok", fmt.Sprintf("%d packages", len(programs)), "")
	return programs, len(programs) > 0
}

// share is what the machine of a kernel runs. A run of everything in several machines
// takes long tests that touch the kernel through sockets or through other packages
// alone to one of them, by turns there and back: those of the examples, health and vrrp.
func (s *session) share(tests []program, series string) []program {
	if len(s.kernels) == 1 || !s.everything() {
		return tests
	}
	var mine []program
	turn := 0
	for _, p := range tests {
		if name := s.module.short(p.ImportPath); strings.HasPrefix(name, "examples/") || name == "health" || name == "vrrp" {
			if turn++; s.kernels[turn/2%len(s.kernels)] != series {
				continue
			}
		}
		mine = append(mine, p)
	}
	return mine
}

// A guest is one machine with a kernel of the series.
type guest struct {
	*session
	*report // its own, if other machines run at the same time
	printed strings.Builder
	series  string
	machine vm.Machine
}

// test runs the tests in the machine.
func (s *guest) test(ctx context.Context, tests []program) {
	m := s.machine
	defer s.stage("tests in a machine with kernel " + m.Kernel.Release + ", promised: all")()
	m.Script = s.script(tests)
	g := newRing(s.report, "kernel "+m.Kernel.Release, s.module, s.bench != "")
	g.piped = true
	off, results := make(chan error, 1), make(chan struct{})
	go func() {
		off <- m.Run(ctx)
		close(results)
	}()
	for _, p := range tests {
		if !s.follow(ctx, g, m.Out, p, results) {
			break
		}
	}
	if err := <-off; err != nil && ctx.Err() == nil {
		s.fail("machine "+s.series, "the machine with kernel "+m.Kernel.Release, err.Error())
	}
}

// machine is a machine with a kernel of the series, ready to boot.
func (s *session) machine(ctx context.Context, series string) (vm.Machine, error) {
	end := s.stage("kernel " + series)
	defer end()
	k, err := vm.Fetch(ctx, s.cache, series)
	if err != nil {
		return vm.Machine{}, err
	}
	s.line("ok", k.Package, "")
	in, err := s.mkdir("in")
	if err != nil {
		return vm.Machine{}, err
	}
	out, err := s.mkdir("out", series)
	m := vm.Machine{Kernel: k, In: in, Out: out, Source: s.module.Dir, KVM: s.kvm, Memory: s.memory}
	m.Limits.Total = max(25*time.Minute, s.timeout+5*time.Minute)
	return m, err
}

// script runs the tests one package after the other. The results of package N
// are in N.log, and its exit status in N.exit once it has ended.
func (s *session) script(tests []program) string {
	var b strings.Builder
	fmt.Fprintf(&b, "export LVSKIT_PROMISED=all LVSKIT_BIN=%s/bin\nout=%s\n", vm.GuestIn, vm.GuestOut)
	b.WriteString(`run() {
	n=$1 dir=$2
	shift 2
	(cd "$dir" && exec timeout -s KILL "$@") > $out/$n.log 2>&1
	echo $? > $out/$n.code
	mv $out/$n.code $out/$n.exit
}
`)
	// The tests end themselves and say where they hung; a minute later they are ended.
	limit := int((s.timeout + time.Minute).Seconds())
	for _, t := range tests {
		args := append([]string{
			"-test.v=test2json", "-test.paniconexit0", "-test.timeout=" + s.timeout.String(), "-test.count=" + strconv.Itoa(s.count),
		}, s.filters("-test.")...)
		fmt.Fprintf(&b, "run %d %s %d %s/test/%d", t.n, quote(t.Dir), limit, vm.GuestIn, t.n)
		for _, arg := range args {
			b.WriteString(" " + quote(arg))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// quote quotes a word for sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// follow reads what a package's tests print while they run in the machine, and
// counts them. It returns false if the machine went off meanwhile.
func (s *guest) follow(ctx context.Context, g *ring, dir string, p program, off <-chan struct{}) bool {
	file := filepath.Join(dir, strconv.Itoa(p.n))
	g.run(p.ImportPath)
	convert := goCommand(ctx, s.module.Dir, "tool", "test2json", "-p", p.ImportPath)
	convert.Stdin = &growing{path: file + ".log", whole: file + ".exit", off: off}
	convert.Stderr = s.w
	out, err := convert.StdoutPipe()
	if err == nil {
		err = convert.Start()
	}
	if err == nil {
		err = errors.Join(g.read(out), convert.Wait())
	}
	status, exitErr := os.ReadFile(file + ".exit")
	switch code := strings.TrimSpace(string(status)); {
	case ctx.Err() != nil:
		return false
	case err != nil:
		g.end(p.ImportPath, "read the output: "+err.Error())
	case exitErr != nil:
		g.end(p.ImportPath, "the machine went off before the package's tests ended")
		return false
	case code != "0":
		g.end(p.ImportPath, "exit status "+code)
	case g.silent(p.ImportPath) && s.run == "" && s.bench == "" && p.declaresTests():
		g.end(p.ImportPath, "none of its tests ran")
	default:
		g.end(p.ImportPath, "")
	}
	return true
}

// A growing reads a file while another writes it, to its end.
type growing struct {
	path  string
	whole string          // exists when the file is whole
	off   <-chan struct{} // closed when nothing more will come
	file  *os.File
}

func (g *growing) Read(b []byte) (int, error) {
	for {
		over := g.over() // before the read, which then sees all
		if g.file == nil {
			g.file, _ = os.Open(g.path)
		}
		if g.file != nil {
			if n, err := g.file.Read(b); n > 0 || err != nil && err != io.EOF {
				return n, err
			}
		}
		if over {
			g.Close()
			return 0, io.EOF
		}
		select {
		case <-g.off:
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (g *growing) over() bool {
	select {
	case <-g.off:
		return true
	default:
	}
	_, err := os.Stat(g.whole)
	return err == nil
}

// Close closes the file.
func (g *growing) Close() error {
	if g.file == nil {
		return nil
	}
	return g.file.Close()
}
