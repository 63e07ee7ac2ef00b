package userspace

import (
	"testing"

	"github.com/lvskit/lvskit/internal/tabletest"
	"github.com/lvskit/lvskit/ipvs"
)

// tableOnly is an empty table.
func tableOnly(t testing.TB) *Engine {
	t.Helper()
	e, err := Open(Config{TableOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestTableAlone(t *testing.T) {
	tabletest.Run(t, func(t *testing.T) ipvs.Table { return tableOnly(t) })
}
