// Package bin gives tests the programs of examples/, compiled: tests run them as
// processes, as their users do.
//
// Where nothing can be compiled (in the machine of internal/cmd/vmtest) the
// environment variable LVSKIT_BIN names a folder that has them already.
package bin

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/need"
)

// Dir is the environment variable that names the folder of compiled programs.
const Dir = "LVSKIT_BIN"

// Path is the path of the program examples/NAME, ready to run. If LVSKIT_BIN is
// not set the program is compiled, without cgo, into a folder that goes with
// the test; it takes a second or so: call it once for several subtests.
func Path(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv(Dir); dir != "" {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("the folder in %s lacks a program: %v", Dir, err)
		}
		return file
	}
	need.Program(t, "go")
	file := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", file, "./examples/"+name)
	build.Dir = root(t)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(build.Args, " "), err, out)
	}
	return file
}

// root is the module's folder: the nearest one above the test's with a go.mod.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("there is no go.mod above the test's folder")
		}
		dir = parent
	}
}
