//go:build !linux

package vm

import "os/exec"

// runWithParent runs cmd.
func runWithParent(cmd *exec.Cmd) error { return cmd.Run() }
