package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A module is what the command tests.
type module struct {
	Path string // github.com/lvskit/lvskit
	Dir  string
}

// A pkg is a package of the module, as go list tells it.
type pkg struct {
	ImportPath, Name, Dir             string
	GoFiles, CgoFiles, IgnoredGoFiles []string
	TestGoFiles, XTestGoFiles         []string
	TestImports, XTestImports         []string
}

// goCommand is a call of go in the folder dir. GOWORK is off: the module is
// tested as its users get it.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	return cmd
}

// findModule finds the module of the current folder.
func findModule(ctx context.Context) (module, error) {
	out, err := output(goCommand(ctx, "", "list", "-m", "-json"))
	if err != nil {
		return module{}, err
	}
	var m module
	if err := json.Unmarshal(out, &m); err != nil {
		return m, fmt.Errorf("read go list -m: %w", err)
	}
	// Inside the machine the folder is reached without the links of this one.
	m.Dir, err = filepath.EvalSymlinks(m.Dir)
	return m, err
}

// listPackages lists the packages that match the patterns, in the order of their paths.
func listPackages(ctx context.Context, m module, patterns []string) ([]pkg, error) {
	args := append([]string{
		"list", "-e", "-json=ImportPath,Name,Dir,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,TestImports,XTestImports",
		"--",
	}, patterns...)
	out, err := output(goCommand(ctx, m.Dir, args...))
	if err != nil {
		return nil, err
	}
	var packages []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("no packages match %s", strings.Join(patterns, " "))
	}
	return packages, nil
}

// output is the standard output of cmd; the error has its standard error.
func output(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, exit.Stderr)
	}
	return out, err
}

// short is the package's path inside the module.
func (m module) short(importPath string) string {
	if s, ok := strings.CutPrefix(importPath, m.Path+"/"); ok {
		return s
	}
	return importPath
}

// hasTests tells whether there is a test file.
func (p pkg) hasTests() bool { return len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 }

// files are the paths of all Go files, of any system.
func (p pkg) files() []string {
	var files []string
	for _, names := range [][]string{p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles} {
		for _, name := range names {
			files = append(files, filepath.Join(p.Dir, name))
		}
	}
	return files
}

// testsImport tells whether the package's tests import path.
func (p pkg) testsImport(path string) bool {
	return slices.Contains(p.TestImports, path) || slices.Contains(p.XTestImports, path)
}

var testFunc = regexp.MustCompile(`(?m)^func Test\w*\(\w+ \*testing\.T\)`)

// declaresTests tells whether there is a test function.
func (p pkg) declaresTests() bool {
	for _, name := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		src, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err == nil && testFunc.Match(src) {
			return true
		}
	}
	return false
}
