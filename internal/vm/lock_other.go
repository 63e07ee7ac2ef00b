//go:build !linux

package vm

import (
	"errors"
	"fmt"
)

// lock answers errors.ErrUnsupported: Debian's kernels are fetched on Linux only.
func lock(string) (func(), error) {
	return nil, fmt.Errorf("lock the cache: %w", errors.ErrUnsupported)
}
