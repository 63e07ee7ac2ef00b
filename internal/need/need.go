// Package need says in one call what a test needs from its machine. A test
// whose need is not met is skipped, unless the run promised that need in the
// environment variable LVSKIT_PROMISED: then it fails. So a run that claims to
// test everything cannot skip in silence.
//
// LVSKIT_PROMISED is a comma-separated list of "root", "ipvs", "module",
// "program", "machine", or "all".
package need

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Promised is the environment variable that holds what the run promises.
const Promised = "LVSKIT_PROMISED"

// Program needs the named programs in PATH.
func Program(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, "program", "the program "+name+" is not in PATH")
		}
	}
}

// Machine needs a machine that was made for tests, because the test changes
// what belongs to all of it, such as kernel modules. Only a run that promises
// "machine" or "all" has one.
func Machine(t testing.TB) {
	t.Helper()
	if !promised(os.Getenv(Promised), "machine") {
		t.Skip("the test is for a machine made for tests: it changes more than its own namespaces")
	}
}

// Emulated tells whether the run promises a machine made for tests. It is
// emulated and some ten times slower than this one, so what is heavy and does not
// depend on the kernel is short there, and what waits has more patience.
func Emulated() bool { return promised(os.Getenv(Promised), "machine") }

// missing skips the test, or fails it if the run promised the thing.
func missing(t testing.TB, kind, what string) {
	t.Helper()
	if promised(os.Getenv(Promised), kind) {
		t.Fatalf("this run promised %q, but %s", kind, what)
	}
	t.Skip(what)
}

func promised(list, kind string) bool {
	kinds := strings.Split(list, ",")
	return slices.Contains(kinds, kind) || slices.Contains(kinds, "all")
}
