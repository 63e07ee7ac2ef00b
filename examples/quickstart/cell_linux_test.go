package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"golang.org/x/sys/unix"
)

// cellEnv makes this program, started again, build the place in which the program
// that it names runs.
const cellEnv = "LVSKIT_TEST_CELL"

func TestMain(m *testing.M) {
	if program := os.Getenv(cellEnv); program != "" {
		runtime.LockOSThread()
		err := build(program)
		fmt.Fprintln(os.Stderr, "cell:", err)
		os.Exit(99)
	}
	labtest.Main(m)
}

// build ends as the program, without an environment.
func build(program string) error {
	if filepath.IsAbs(program) {
		if err := emptyRoot(program); err != nil {
			return err
		}
		program = "/quickstart"
	} else { // it is not to get a user namespace
		program = strings.TrimPrefix(program, "forbidden:")
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			return err
		}
	}
	if err := renounce(); err != nil {
		return err
	}
	return os.NewSyscallError("execve", syscall.Exec(program, append([]string{"quickstart"}, os.Args[1:]...), nil))
}

// emptyRoot makes a root of its own that has what the smallest container has: the
// program, /proc, /dev/null and /tmp.
func emptyRoot(program string) error {
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	const root = "/tmp"
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount private", err)
	}
	null, err := unix.OpenTree(unix.AT_FDCWD, "/dev/null", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	if err := unix.Mount("root", root, "tmpfs", 0, "mode=755"); err != nil {
		return os.NewSyscallError("mount tmpfs", err)
	}
	for _, dir := range []string{"proc", "dev", "tmp", "old"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	err = errors.Join(
		os.Chmod(root+"/tmp", 0o777),
		os.WriteFile(root+"/quickstart", text, 0o755),
		os.WriteFile(root+"/dev/null", nil, 0o666),
		os.NewSyscallError("mount proc", unix.Mount("proc", root+"/proc", "proc", 0, "")),
		os.NewSyscallError("move_mount", unix.MoveMount(null, "", unix.AT_FDCWD, root+"/dev/null", unix.MOVE_MOUNT_F_EMPTY_PATH)),
		os.NewSyscallError("pivot_root", unix.PivotRoot(root, root+"/old")),
		os.NewSyscallError("chdir", unix.Chdir("/")),
	)
	if err != nil {
		return err
	}
	return errors.Join(os.NewSyscallError("umount", unix.Unmount("/old", unix.MNT_DETACH)), os.Remove("/old"))
}

// renounce gives up all rights for ever, and the user where there is another.
func renounce() error {
	for c := range uintptr(64) {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return os.NewSyscallError("prctl", err)
		}
	}
	if !inner() {
		err := errors.Join(unix.Setgroups(nil), unix.Setresgid(nobody, nobody, nobody), unix.Setresuid(nobody, nobody, nobody))
		if err != nil {
			return err
		}
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// nobody is an ordinary user.
const nobody = 65534

// needUsers skips a test that must be able to become nobody.
func needUsers(t *testing.T) {
	t.Helper()
	need.Root(t)
	if inner() {
		t.Skip("this is a user namespace, and has one user")
	}
}

// inCell prepares the program for an ordinary user in an empty container.
func inCell(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	needUsers(t)
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = []string{cellEnv + "=" + program}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	runtime.LockOSThread() // which Pdeathsig means
	t.Cleanup(runtime.UnlockOSThread)
	return cmd
}

// whereForbidden prepares it for a user who cannot make user namespaces.
func whereForbidden(program string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = []string{cellEnv + "=forbidden:" + program}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd
}
