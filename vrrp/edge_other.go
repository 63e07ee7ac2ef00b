//go:build !linux

package vrrp

import (
	"errors"
	"fmt"
)

func openEdge(string) (system, error) {
	return nil, fmt.Errorf("only Linux can: %w", errors.ErrUnsupported)
}
