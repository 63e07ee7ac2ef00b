package health

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// echo answers one line of each connection with itself, a while later, until the end of the test.
func echo(t testing.TB, delay time.Duration) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				line, _ := bufio.NewReader(c).ReadString('\n')
				time.Sleep(delay)
				_, _ = io.WriteString(c, line)
			}()
		}
	}()
	return l.Addr().String()
}

// ordeal is what a child process that probes goes through.
type ordeal struct {
	checks        int
	timeout, span time.Duration
	burn          int           // goroutines beside it
	work          time.Duration // processor time of each probe
	do            func(*os.Process)
}

// watch runs the child and returns what it has seen.
func (o ordeal) watch(t *testing.T, dead bool) (s sentry) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), childEnv+"=sentry", "HEALTH_TEST_ADDR="+echo(t, o.timeout/4), "HEALTH_TEST_DEAD="+echo(t, time.Hour))
	for name, value := range map[string]int{
		"CHECKS": o.checks, "TIMEOUT": int(o.timeout), "SPAN": int(o.span), "BURN": o.burn, "WORK": int(o.work), "DEAD_TOO": map[bool]int{true: 1}[dead],
	} {
		cmd.Env = append(cmd.Env, fmt.Sprintf("HEALTH_TEST_%s=%d", name, value))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the child dies with the thread
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); strings.TrimSpace(line) != "ready" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	if o.do != nil {
		o.do(cmd.Process)
	}
	if err := json.NewDecoder(lines).Decode(&s); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", s)
	return s
}

func TestStarvedProcessTellsNothingFalse(t *testing.T) {
	timeout, times := time.Second, 2
	if need.Emulated() { // where the server is slow, too
		timeout, times = 3*time.Second, 1
	}
	stop := func(p *os.Process) {
		for range times {
			time.Sleep(time.Second)
			_ = p.Signal(syscall.SIGSTOP)
			time.Sleep(2 * timeout)
			_ = p.Signal(syscall.SIGCONT)
		}
	}
	tests := []struct {
		name string
		ordeal
		dead bool // is found; those that are starved all the time take up to a minute
	}{
		{"stopped for twice the timeout", ordeal{checks: 300, timeout: timeout, span: 5 * timeout, do: stop}, true},
		{"beside 16 burning goroutines", ordeal{checks: 300, timeout: time.Second, span: 4 * time.Second, burn: 16}, false},
		{"beside 16 burning goroutines, with a short timeout", ordeal{checks: 300, timeout: 200 * time.Millisecond, span: 4 * time.Second, burn: 16}, false},
		{"with more work than there is processor", ordeal{checks: 2000, timeout: time.Second, span: 4 * time.Second, work: 2 * time.Millisecond}, false},
	}
	if need.Emulated() {
		tests = tests[:1]
		tests[0].checks = 30
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.watch(t, tt.dead)
			if s.Down > 0 || s.Failed > 0 || s.Passed == 0 {
				t.Errorf("false results: %+v", s)
			}
			if tt.dead && s.Dead < silent {
				t.Errorf("of %d silent servers %d were found to be down", silent, s.Dead)
			}
		})
	}
}
