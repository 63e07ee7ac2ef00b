package nat

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(victimPath); path != "" {
		victim(path)
		return
	}
	flag.Parse()
	if run := flag.Lookup("test.run"); need.Emulated() && run.Value.String() == "" {
		// All others run on the machine that emulates this one, ten times as fast.
		if err := run.Value.Set(ofTheKernel); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	labtest.Main(m)
}

// ofTheKernel are the tests that each kernel is to be asked: whether packets are
// rewritten alike, what it gives back of what it was given, and those that need IPVS or
// a machine of their own.
const ofTheKernel = "^TestPackets$|Conversations|RandomPorts|NFTMends|NFTReads|NFTErrors|IPTablesHas|FlushedByOthers|BesideIPVS|FlowsOfIPVS|Flowtable|TellsNothing"
