package lab_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/need"
)

const nobody = 65534

// asNobody prepares this program to run as a user without any right.
func asNobody(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	need.Root(t)
	if m, err := os.ReadFile("/proc/self/uid_map"); err != nil || !strings.HasSuffix(strings.TrimSpace(string(m)), "4294967295") {
		t.Skip("this is a user namespace already")
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
		Pdeathsig:  syscall.SIGKILL,
	}
	runtime.LockOSThread() // which Pdeathsig means
	t.Cleanup(runtime.UnlockOSThread)
	return cmd
}

func TestOrdinaryUserHasLabs(t *testing.T) {
	cmd := asNobody(t, "-test.v", "-test.run=Outlives|CloseEnds|Answers|EveryWay|Router|Capture|Cable|Process")
	cmd.Env = append(os.Environ(), need.Promised+"=root")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "lab: enter a user namespace") {
		t.Skipf("no user namespaces here: %s", out)
	}
	if err != nil || strings.Count(string(out), "\n--- PASS: ") < 6 {
		t.Errorf("%v:\n%s", err, out)
	}
}

const statusAfterSignal = 42

// enterAndWait says who it is, waits for a signal and ends with a status.
func enterAndWait() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	if err := lab.Enter(); err != nil {
		fmt.Println("forbidden", err)
		os.Exit(1)
	}
	fmt.Println(os.Getuid(), os.Getpid())
	<-signals
	os.Exit(statusAfterSignal)
}

func TestEnteredProgramIsOneWithItsOuter(t *testing.T) {
	for _, tt := range []struct {
		sig    syscall.Signal
		status int
	}{
		{syscall.SIGUSR1, statusAfterSignal},
		{syscall.SIGKILL, -1},
	} {
		t.Run(tt.sig.String(), func(t *testing.T) {
			cmd := asNobody(t)
			cmd.Env = append(os.Environ(), doomedEnv+"=enter")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			line, _ := bufio.NewReader(stdout).ReadString('\n')
			if strings.HasPrefix(line, "forbidden") {
				t.Skip(line)
			}
			var uid, inner int
			if _, err := fmt.Sscan(line, &uid, &inner); err != nil || uid != 0 || inner == cmd.Process.Pid {
				t.Fatalf("the inner program says %q, %v", line, err)
			}
			if err := cmd.Process.Signal(tt.sig); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != tt.status {
				t.Errorf("the outer program ended with %v", err)
			}
			eventually(t, "the inner program ends", func() bool { return !alive(inner) })
		})
	}
}
