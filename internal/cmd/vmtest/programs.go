package main

import (
	"context"
	"strings"
)

// binPackage gives tests the module's programs.
const binPackage = "/internal/bin"

// programs builds the programs of examples/ that the tests run, once, and
// returns their folder; ok is false if no test asks for one or they do not build.
func (s *session) programs(ctx context.Context) (dir string, ok bool) {
	wanted := s.shell || s.exec != ""
	for _, p := range s.packages {
		wanted = wanted || p.testsImport(s.module.Path+binPackage)
	}
	if !wanted {
		return "", false
	}
	s.programsOnce.Do(func() { s.bin = s.buildPrograms(ctx) })
	return s.bin, s.bin != ""
}

// buildPrograms builds every program of examples/ without cgo, so that it runs
// in the machine too.
func (s *session) buildPrograms(ctx context.Context) string {
	dir, err := s.mkdir("in", "bin")
	if err != nil {
		s.fail("build: examples", "build examples", err.Error())
		return ""
	}
	examples, err := listPackages(ctx, s.module, []string{"./examples/..."})
	if err != nil {
		return "" // there are none yet
	}
	var mains []string
	for _, p := range examples {
		if p.Name == "main" {
			mains = append(mains, p.ImportPath)
		}
	}
	if len(mains) == 0 {
		return ""
	}
	cmd := goCommand(ctx, s.module.Dir, append([]string{"build", "-o", dir + "/"}, mains...)...)
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.fail("build: examples", "build examples", strings.TrimSpace(string(out)))
		return ""
	}
	return dir
}
