package vip

import (
	"os"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
		return
	}
	labtest.Main(m)
}
