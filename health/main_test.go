package health

import (
	"os"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// childEnv makes the test binary another program: its value is the name of an
// entry of children.
const childEnv = "HEALTH_TEST_CHILD"

// children are what tests run as processes of their own.
var children = map[string]func(){}

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childEnv)]; child != nil {
		child()
		return
	}
	labtest.Main(m)
}
