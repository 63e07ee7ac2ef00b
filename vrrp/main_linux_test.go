package vrrp

import (
	"os"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(benchEnv); role != "" {
		benchMain(role)
	}
	labtest.Main(m)
}
