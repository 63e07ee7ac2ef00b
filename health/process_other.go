//go:build !linux

package health

import (
	"errors"
	"fmt"
)

func processSupported() error {
	return fmt.Errorf("processes are looked for in the proc file system of Linux: %w", errors.ErrUnsupported)
}

func (p *Process) probeOne() error { return inconclusive(processSupported()) }

func (p *Process) probeNamed(int) error { return inconclusive(processSupported()) }
