package ipvs_test

import (
	"testing"

	"github.com/lvskit/lvskit/internal/tabletest"
	"github.com/lvskit/lvskit/ipvs"
)

func TestKernelTable(t *testing.T) {
	tabletest.Run(t, func(t *testing.T) ipvs.Table { return ipvs.KernelTable(t) })
}
