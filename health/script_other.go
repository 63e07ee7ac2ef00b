//go:build !unix

package health

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

func (s Script) supported() error {
	if s.NetNS != "" || s.Credential != nil {
		return fmt.Errorf("user and network namespace of a script: %w", errors.ErrUnsupported)
	}
	return nil
}

func (s Script) executable() error {
	_, err := exec.LookPath(s.Path)
	var e *exec.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return err
}

func scriptFault(err error) error { return fault(pathless(err)) }

// run runs the script, and kills it, though not its children, when ctx ends.
func (s Script) run(ctx context.Context, out *tail) (ending, error) {
	cmd := exec.CommandContext(ctx, s.Path, s.Args...)
	cmd.Env, cmd.Dir = s.Env, s.Dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = outputWait
	killed := false
	cmd.Cancel = func() error {
		err := cmd.Process.Kill()
		killed = err == nil
		return err
	}
	err := cmd.Run()
	state := cmd.ProcessState
	if state == nil {
		return ending{}, err
	}
	return ending{state.ExitCode(), state.String(), killed}, nil
}
