package vm

import (
	"os/exec"
	"runtime"
	"syscall"
)

// runWithParent runs cmd, and has the kernel kill it if this program is killed.
// The kernel means the thread that started it: the goroutine keeps it.
func runWithParent(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
