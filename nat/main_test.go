package nat

import (
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }
