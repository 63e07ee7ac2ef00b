package userspace

import (
	"os"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
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
	labtest.Main(m)
}
