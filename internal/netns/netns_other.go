//go:build !linux

package netns

import (
	"errors"
	"fmt"
	"os"
)

// Do calls fn if path is empty; other systems have no network namespaces.
func Do(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	return fmt.Errorf("network namespace %s: %w", path, errors.ErrUnsupported)
}

// New answers errors.ErrUnsupported.
func New() (*os.File, error) {
	return nil, fmt.Errorf("make network namespace: %w", errors.ErrUnsupported)
}
