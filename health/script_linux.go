package health

import (
	"context"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/lvskit/lvskit/internal/netns"
	"golang.org/x/sys/unix"
)

func (s Script) supported() error { return nil }

// run runs the script in its network namespace. The kernel kills it when the thread
// that started it ends, so that thread waits for it.
func (s Script) run(ctx context.Context, out *tail) (end ending, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	started := false
	err = netns.Do(s.NetNS, func() error {
		started = true
		cmd := s.command(out)
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		var err error
		end, err = s.execute(ctx, cmd)
		return err
	})
	if err != nil && !started {
		err = inconclusive(err)
	}
	return end, err
}

// hasEnded tells whether a child has ended, and leaves it to be reaped.
func hasEnded(pid int) bool {
	var info unix.Siginfo
	err := waitid(pid, &info, unix.WNOHANG)
	return err != nil || info.Signo != 0
}

func waitid(pid int, info *unix.Siginfo, options int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, info, unix.WEXITED|unix.WNOWAIT|options, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// wait waits for the command and calls end before its number can become another's.
// It reaps what the group left to us, if orphans come to us: as the first process of
// a container, or PR_SET_CHILD_SUBREAPER.
func wait(cmd *exec.Cmd, end func()) error {
	pid := cmd.Process.Pid
	_ = waitid(pid, nil, 0) // an error would be one of Wait too
	end()
	err := cmd.Wait()
	for {
		// A killed parent has handed on its children before it can be reaped.
		if _, err := unix.Wait4(-pid, nil, 0, nil); err != nil && err != unix.EINTR {
			break
		}
	}
	return err
}
