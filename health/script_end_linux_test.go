package health

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
	"golang.org/x/sys/unix"
)

func init() {
	children["scripter"] = scripterMain
	children["reaper"] = reaperMain
}

// The threads of this program come and go; a script does not go with one.
func TestScriptsOutliveThreads(t *testing.T) {
	rounds := 5
	if need.Emulated() {
		rounds = 1
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range rounds {
				if _, err := (Script{Path: "sleep", Args: []string{"0.1"}}).Probe(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for n := 0; ; n++ {
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			runtime.LockOSThread() // the thread ends with the goroutine
		}()
		<-gone
		select {
		case <-ended:
			if n == 0 {
				t.Error("no thread has ended")
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// scripterMain runs a script that does not end.
func scripterMain() {
	script := Script{Path: os.Getenv("HC_SCRIPT"), Args: []string{"300"}}
	_, err := script.Probe(context.Background())
	fmt.Println(err)
}

func TestAScriptDiesWithItsParent(t *testing.T) {
	s := newStage(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=scripter", "HC_SCRIPT="+filepath.Join(s.dir, s.name))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(s.left()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not begin")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s.none(t)
}

// reaperMain is the first process of a container: what its scripts leave comes to it.
func reaperMain() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
		return
	}
	for range 5 {
		script := Script{Path: "sh", Args: []string{"-c", "(sleep 300 & (sleep 300 & sleep 300) & sleep 300) & sleep 300 & exit 0"}}
		if _, err := script.Probe(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if pid == 0 {
			fmt.Println("children are left")
		}
		fmt.Println("end", pid, err)
		return
	}
}

func TestTheFirstProcessOfAContainerReaps(t *testing.T) {
	need.Program(t, "sh", "sleep")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=reaper")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for scan := bufio.NewScanner(out); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	_ = cmd.Wait()
	if len(lines) != 1 || lines[0] != "end -1 "+unix.ECHILD.Error() {
		t.Errorf("got %q", lines)
	}
}

// Scripts leave neither processes nor goroutines nor descriptors.
func TestScriptsLeaveNothing(t *testing.T) {
	s := newStage(t)
	run := func() {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				script := s.script([]string{"exit 0", "SLEEP 300 & exit 1", "SLEEP 300", "trap '' TERM; SLEEP 300"}[i%4])
				script.Grace = 10 * time.Millisecond
				_, _ = script.Probe(ctx)
			})
		}
		wg.Wait()
	}
	count := func() (n int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds) + runtime.NumGoroutine()
	}
	run()
	before := count()
	rounds := 20
	if need.Emulated() {
		rounds = 3
	}
	for range rounds {
		run()
	}
	s.none(t)
	for deadline := time.Now().Add(30 * time.Second); count() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("descriptors and goroutines were %d, now %d", before, count())
		}
	}
}

// BenchmarkScript is the cost of the least script, this program's part and the whole.
func BenchmarkScript(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Script{Path: "/bin/true"}).Probe(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
