package bin

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestPathIsTheProgramOfTheFolderGiven(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Dir, dir)
	want := filepath.Join(dir, "director")
	if err := os.WriteFile(want, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := Path(t, "director"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPathCompilesWhereNoFolderIsGiven(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("nothing can be compiled here")
	}
	t.Setenv(Dir, "")
	// A module of its own, so that the test does not depend on the examples.
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                   "module example.org/m\n\ngo 1.26\n",
		"examples/greeter/main.go": "package main\n\nfunc main() { println(\"hello\") }\n",
		"pkg/pkg.go":               "package pkg\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(dir, "pkg"))
	out, err := exec.Command(Path(t, "greeter")).CombinedOutput()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("the program printed %q, %v", out, err)
	}
}
