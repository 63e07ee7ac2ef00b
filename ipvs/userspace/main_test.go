package userspace

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// childEnv is set to the name of what this program does instead of testing.
const childEnv = "LVSKIT_USERSPACE_CHILD"

// children are programs of the tests; the files that need one add it in an init.
var children = map[string]func(){}

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childEnv)]; child != nil {
		child()
		return
	}
	flag.Parse()
	if run := flag.Lookup("test.run"); need.Emulated() && run.Value.String() == "" {
		// All others run on the machine that emulates this one, ten times as fast.
		if err := run.Value.Set(besideKernel); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	labtest.Main(m)
}

// besideKernel are the tests that ask the kernel and the Engine the same.
const besideKernel = "FromTheKernel|TheKernels|^TestChoices"
