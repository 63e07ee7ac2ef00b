package nat

import (
	"os"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(victimPath); path != "" {
		victim(path)
		return
	}
	labtest.Main(m)
}
