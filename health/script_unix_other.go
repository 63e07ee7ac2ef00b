//go:build unix && !linux

package health

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

func (s Script) supported() error {
	if s.NetNS != "" {
		return fmt.Errorf("network namespaces are for Linux: %w", errors.ErrUnsupported)
	}
	return nil
}

func (s Script) run(ctx context.Context, out *tail) (ending, error) {
	return s.execute(ctx, s.command(out))
}

// hasEnded is not known without reaping.
func hasEnded(int) bool { return false }

// wait waits for the command, and calls end.
func wait(cmd *exec.Cmd, end func()) error {
	err := cmd.Wait()
	end()
	return err
}
