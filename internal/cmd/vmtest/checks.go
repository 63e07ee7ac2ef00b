package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tools are the programs of the module tools/ that the checks run.
var tools = []string{"mvdan.cc/gofumpt", "honnef.co/go/tools/cmd/staticcheck"}

// systems are what everything must build for besides this machine, without cgo.
var systems = []struct{ os, arch string }{
	{"linux", "arm64"}, {"linux", "386"}, {"darwin", "arm64"}, {"windows", "amd64"},
}

// checks checks what needs no test to run.
func (s *session) checks(ctx context.Context) {
	defer s.stage("checks")()
	bin := filepath.Join(s.cache, "tools")
	build := goCommand(ctx, filepath.Join(s.module.Dir, "tools"), append([]string{"build", "-o", bin + "/"}, tools...)...)
	haveTools := s.check(ctx, "build the tools", build)
	if haveTools {
		s.check(ctx, "gofumpt", s.format(ctx, filepath.Join(bin, "gofumpt")))
	}
	s.check(ctx, "go vet", s.goOn(ctx, "vet"))
	if haveTools {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "staticcheck"), s.patterns...)
		cmd.Dir = s.module.Dir
		s.check(ctx, "staticcheck", cmd)
	}
	for _, system := range systems {
		// vet compiles the tests too, which build does not.
		cmd := s.goOn(ctx, "vet")
		cmd.Env = append(cmd.Env, "GOOS="+system.os, "GOARCH="+system.arch, "CGO_ENABLED=0")
		s.check(ctx, "builds for "+system.os+"/"+system.arch, cmd)
	}
	s.check(ctx, "go.mod is tidy", goCommand(ctx, s.module.Dir, "mod", "tidy", "-diff"))
	s.check(ctx, "tools/go.mod is tidy", goCommand(ctx, filepath.Join(s.module.Dir, "tools"), "mod", "tidy", "-diff"))
}

// goOn is a call of go with the packages of this run.
func (s *session) goOn(ctx context.Context, args ...string) *exec.Cmd {
	return goCommand(ctx, s.module.Dir, append(args, s.patterns...)...)
}

// format lists the files that gofumpt would write otherwise.
func (s *session) format(ctx context.Context, gofumpt string) *exec.Cmd {
	args := []string{"-l"}
	for _, p := range s.packages {
		args = append(args, p.files()...)
	}
	cmd := exec.CommandContext(ctx, gofumpt, args...)
	cmd.Dir = s.module.Dir
	return cmd
}

// check runs a check: it passes if it ends well and prints nothing that matters.
// gofumpt -l and go mod tidy -diff differ in their status but not in that.
func (s *session) check(ctx context.Context, name string, cmd *exec.Cmd) bool {
	if ctx.Err() != nil {
		return false
	}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if name == "gofumpt" && err == nil && text != "" {
		err = errors.New("run gofumpt -w on these files")
	}
	if err != nil {
		s.fail("check: "+name, fmt.Sprintf("%s: %v", name, err), text)
		return false
	}
	s.line("ok", fmt.Sprintf("%s in %s", name, took(start)), "")
	return true
}
