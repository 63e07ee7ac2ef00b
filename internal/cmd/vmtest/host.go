package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// host runs the tests on this machine, with the race detector.
func (s *session) host(ctx context.Context) {
	promised := s.hostPromise()
	defer s.stage(fmt.Sprintf("tests on this machine (%s/%s), promised: %s", runtime.GOOS, runtime.GOARCH, or(promised, "nothing")))()
	env := append(os.Environ(), "GOWORK=off", "LVSKIT_PROMISED="+promised)
	if bin, ok := s.programs(ctx); ok {
		env = append(env, "LVSKIT_BIN="+bin)
	}
	args := []string{"test", "-race", "-json", "-vet=off", "-timeout", s.timeout.String(), "-count", strconv.Itoa(s.count)}
	args = append(args, s.filters("-")...)
	cmd := goCommand(ctx, s.module.Dir, append(args, s.patterns...)...)
	cmd.Env = env
	inGroup(cmd)
	cmd.Stderr = s.w
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.fail("go test", "go test", err.Error())
		return
	}
	g, failures := newRing(s.report, "this machine", s.module, s.bench != ""), len(s.failures)
	readErr := g.read(out)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
	case readErr != nil:
		s.fail("go test", "read what go test prints", readErr.Error())
	case err != nil && len(s.failures) == failures: // its reason was no package's
		s.fail("go test", "go test", err.Error())
	}
}

// filters are the flags that choose tests, for go test or (prefix "-test.") for
// a test's program.
func (s *session) filters(prefix string) []string {
	var flags []string
	if s.run != "" {
		flags = append(flags, prefix+"run="+s.run)
	}
	if s.bench != "" {
		flags = append(flags, prefix+"bench="+s.bench, prefix+"benchmem")
	}
	return flags
}

// hostPromise is what a test can have on this machine, in the words of
// internal/need. IPVS and kernel modules are promised in the machine only.
func (s *session) hostPromise() string {
	var promised []string
	if root() {
		promised = append(promised, "root")
		if _, err := os.Stat("/proc/net/ip_vs"); err == nil {
			promised = append(promised, "ipvs")
		}
	}
	if s.complete {
		promised = append(promised, "program")
	}
	return strings.Join(promised, ",")
}

// root tells whether this program has CAP_NET_ADMIN and CAP_SYS_ADMIN, which
// root in a container may lack.
func root() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			const both = 1<<12 | 1<<21 // linux/capability.h
			return err == nil && caps&both == both
		}
	}
	return false
}

// or is the first that is not empty.
func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
