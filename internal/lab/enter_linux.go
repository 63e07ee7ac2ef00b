package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/lvskit/lvskit/internal/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// entered tells the re-executed program that it is the inner one.
const entered = "LVSKIT_LAB_ENTERED"

// Enter gives the program the rights to make a lab. With CAP_SYS_ADMIN and
// CAP_NET_ADMIN it returns nil at once. Otherwise it runs the program again,
// as root of a user namespace of its own, with the same arguments and files,
// passes signals on, and ends with its status; the program so run returns nil.
// Call it first in main or TestMain: what was done before is done twice.
//
// Inside, only the present user and group exist (as root; programs cannot
// change to others), the network is empty but for lo, and /run is an empty
// folder of its own.
//
// Where user namespaces are forbidden the error matches fs.ErrPermission.
func Enter() error {
	if os.Getenv(entered) != "" {
		os.Unsetenv(entered) // not for our own children
		return settle()
	}
	if netns.Capable(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN) {
		return nil
	}
	runtime.LockOSThread() // the inner program dies with this thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), entered+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	if err := cmd.Start(); err != nil {
		signal.Stop(signals)
		runtime.UnlockOSThread()
		return enterError(err)
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	cmd.Wait()
	os.Exit(exitStatus(cmd.ProcessState))
	return nil
}

// settle furnishes the new namespaces, and finds out whether they can be used:
// some systems let anyone make a user namespace, but not use its rights.
func settle() error {
	host, err := newSpace(hostSettings)
	if err != nil {
		return enterError(err)
	}
	host.close()
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("lab: open netlink: %w", err)
	}
	defer nl.Close()
	if err := upLoopback(nl); err != nil {
		return enterError(err)
	}
	// Programs keep locks in /run, which belongs to the machine's root.
	// It is a convenience: some containers forbid it.
	_ = unix.Mount("run", "/run", "tmpfs", 0, "mode=755")
	return nil
}

func enterError(err error) error {
	for _, forbidden := range []error{fs.ErrPermission, unix.ENOSPC, unix.EINVAL, unix.EUSERS} {
		if errors.Is(err, forbidden) {
			return fmt.Errorf("lab: enter a user namespace: %w (%w): run as root, or see the settings "+
				"user.max_user_namespaces, kernel.unprivileged_userns_clone, "+
				"kernel.apparmor_restrict_unprivileged_userns", fs.ErrPermission, err)
		}
	}
	return fmt.Errorf("lab: enter a user namespace: %w", err)
}

// exitStatus is a shell's: 128 and the signal for a program that one killed.
func exitStatus(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
