//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// inGroup makes the end of cmd's context the end of all that cmd started: go
// test does not pass a signal on to the tests.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
