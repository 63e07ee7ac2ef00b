// Command vmtest is the one test command of the project:
//
//	go run ./internal/cmd/vmtest [flags] [packages]
//
// It installs the programs that the tests use (Debian, as root; elsewhere it says
// what to install), checks format, vet, staticcheck and builds for other systems,
// runs the tests with the race detector on this machine, and then runs them as
// root in a QEMU machine with a Debian kernel that has IPVS. There everything
// that a test can need is promised: a skip for want of it is a failure; package
// ipvs has the race detector there too. The packages are ./... by default.
//
//	-only stages    checks, machine, vm: some of them, separated by commas
//	-kernel series  6.12 (the default: the kernel that the benchmarks are made for), 6.1 or all,
//	                in machines side by side; a run of everything takes the tests of each example
//	                to one of them
//	-run regexp     only these tests
//	-bench regexp   only these benchmarks, and no tests unless -run is given
//	-count n        run each test and benchmark n times
//	-timeout d      for the tests of one package; 5m by default
//	-v              print the output of all tests
//	-shell          a prompt inside the machine, with the module's programs in PATH
//	-exec command   run the shell command there and end with its status
//	-kvm            do not emulate the processor
//	-memory MiB     of the machine; 4096 by default
//
// While working on one package, one ring is enough:
//
//	go run ./internal/cmd/vmtest -only vm -run Sync ./ipvs
//
// A test counts once, however many rings it ran in: as failed if it failed in
// one, as passed if it passed in one, as skipped if it was skipped in all. A
// failed check or build counts as a failure. The last line is
// "N passed, N failed, N skipped"; the exit status is 1 if anything failed or
// nothing ran.
//
// Downloads are kept in lvskit-vmtest in the user's cache folder, which may be
// deleted at any time.
//
// How it flows: main.go runs the stages; install.go has the table of packages;
// list.go asks go for the module and its packages; checks.go, host.go and
// guest.go are the stages; events.go reads what tests print and report.go counts
// and prints. The machine is internal/vm, Debian's tools are internal/debian.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/internal/vm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	opts, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	status := 0
	if err := run(ctx, opts); err != nil {
		if !errors.Is(err, errFailed) {
			fmt.Fprintln(os.Stderr, "vmtest:", err)
		}
		status = 1
	}
	stop()
	os.Exit(status)
}

// errFailed is a run whose report says what failed.
var errFailed = errors.New("failed")

// A session is one run of the command.
type session struct {
	options
	*report
	module   module
	packages []pkg
	cache    string // what is kept
	dir      string // what is gone after the run
	complete bool   // all packages of install.go are there

	programsOnce sync.Once
	bin          string // the folder of the module's programs, or ""
}

// run runs the stages that opts asks for.
func run(ctx context.Context, opts options) error {
	s := &session{options: opts, report: newReport(os.Stdout, opts.verbose)}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	s.install(ctx)
	if s.shell || s.exec != "" {
		return s.prompt(ctx)
	}
	for _, stage := range []struct {
		name string
		run  func(context.Context)
	}{{"checks", s.checks}, {"machine", s.host}, {"vm", s.guests}} {
		if s.only[stage.name] && ctx.Err() == nil {
			stage.run(ctx)
		}
	}
	if ctx.Err() != nil {
		s.fail("vmtest", "interrupted", "")
	}
	s.summary()
	if !s.success(s.only["machine"] || s.only["vm"]) {
		return errFailed
	}
	return nil
}

// prepare finds the module, its packages and the folders to work in.
func (s *session) prepare(ctx context.Context) (err error) {
	if s.module, err = findModule(ctx); err != nil {
		return err
	}
	if s.packages, err = listPackages(ctx, s.module, s.patterns); err != nil {
		return err
	}
	if s.cache, err = vm.Cache(); err != nil {
		return err
	}
	sweep(s.cache)
	s.dir, err = os.MkdirTemp(s.cache, "run-")
	return err
}

// sweep removes what killed runs have left, a day later.
func sweep(cache string) {
	dirs, _ := filepath.Glob(filepath.Join(cache, "run-*"))
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(dir)
		}
	}
}

// mkdir is a folder of this run.
func (s *session) mkdir(elem ...string) (string, error) {
	dir := filepath.Join(append([]string{s.dir}, elem...)...)
	return dir, os.MkdirAll(dir, 0o755)
}
