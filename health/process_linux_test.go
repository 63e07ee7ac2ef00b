package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// sleeper is a program that runs until it is ended: a copy of sleep
// by a name of its own, so that no other process of the machine has it.
func sleeper(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	need.Program(t, "sleep")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := copyFile(path, sleep); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{"300"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	executed(t, cmd)
	return cmd
}

// executed waits until a process that was started has its name and its arguments:
// Start can return while it still has its parent's.
func executed(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	for range 1000 {
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(args), cmd.Path) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("process %d still has its parent's arguments after a second", cmd.Process.Pid)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// finds probes, and compares: "" is a pass.
func finds(t testing.TB, p Prober, want string) {
	t.Helper()
	_, err := p.Probe(t.Context())
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want a pass", err)
	case want != "" && err == nil:
		t.Errorf("passed, want %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("got %v, want %q", err, want)
	case errors.Is(err, ErrInconclusive) != strings.Contains(want, "inconclusive"):
		t.Errorf("got %v, want %q", err, want)
	}
}

// unwaited kills a process and leaves it a zombie.
func unwaited(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	stat := fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(stat)
		if task, ok := parseStat(text); err != nil || ok && task.state == 'Z' {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not end: %s", text)
		}
	}
}

func TestProcessByName(t *testing.T) {
	name := "hcname" + strconv.Itoa(os.Getpid()%10000)
	p := &Process{Name: name}
	finds(t, p, "no such process runs")
	first := sleeper(t, name, "1")
	finds(t, p, "")
	finds(t, p, "") // by what is remembered
	two := &Process{Name: name, AtLeast: 2}
	finds(t, two, "1 such processes run, want 2")
	second := sleeper(t, name, "2")
	finds(t, two, "")
	finds(t, Not(two), "it passes, and should not")
	finds(t, &Process{Args: []string{second.Path, "300", "2"}}, "")
	finds(t, &Process{Name: name, Args: []string{second.Path, "30"}, AtLeast: 1}, "")
	finds(t, &Process{Name: name, Args: []string{second.Path, "30", "2"}}, "no such process runs")
	finds(t, &Process{Name: name, Args: []string{second.Path, "300", "3"}}, "no such process runs")
	finds(t, &Process{Name: name[:4]}, "no such process runs")

	unwaited(t, first) // a zombie
	finds(t, two, "1 such processes run, want 2")
	finds(t, p, "")
	unwaited(t, second)
	_ = second.Wait()
	finds(t, p, "no such process runs")
	sleeper(t, name)
	finds(t, p, "")
}

func TestProcessByALongName(t *testing.T) {
	name := "hc-a-name-that-is-long" + strconv.Itoa(os.Getpid())
	cmd := sleeper(t, name)
	finds(t, &Process{Name: name}, "")
	finds(t, &Process{Name: name + "er"}, "no such process runs")
	finds(t, &Process{PID: cmd.Process.Pid, Name: name}, "")
	finds(t, &Process{Name: name[:commMax]}, "")
}

func TestProcessOfAScriptByItsName(t *testing.T) {
	need.Program(t, "sh", "sleep")
	name := "hc-script-with-long-name" + strconv.Itoa(os.Getpid())
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\nread line\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	executed(t, cmd)
	finds(t, &Process{Name: name}, "")
	in.Close()
	_ = cmd.Wait()
	finds(t, &Process{Name: name}, "no such process runs")
}

func TestProcessByPID(t *testing.T) {
	cmd := sleeper(t, "hcpid")
	pid := cmd.Process.Pid
	for _, proc := range []string{"", "/proc"} {
		p := &Process{PID: pid, Proc: proc}
		finds(t, p, "")
		finds(t, p, "")
		finds(t, &Process{PID: pid, Proc: proc, Name: "hcpid"}, "")
		finds(t, &Process{PID: pid, Proc: proc, Name: "other"}, `is named "hcpid", want other`)
		finds(t, &Process{PID: pid, Proc: proc, Args: []string{"other"}}, "runs as")
		finds(t, &Process{PID: os.Getpid(), Proc: proc}, "")
		p.pin.start++ // as if the number had come round to this process
		finds(t, p, fmt.Sprintf("process %d has ended: another", pid))
	}
	unwaited(t, cmd)
	finds(t, &Process{PID: pid}, "has ended")
	finds(t, &Process{PID: pid, Proc: "/proc"}, "zombie")
	_ = cmd.Wait()
	finds(t, &Process{PID: pid}, "has ended")
	finds(t, &Process{PID: pid, Proc: "/proc"}, "has ended")
	finds(t, &Process{PID: pid, Proc: filepath.Join(t.TempDir(), "none")}, "has ended")
}

// A number that a thread of another process has now is no process.
func TestProcessByTheNumberOfAThread(t *testing.T) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil || tid == os.Getpid() {
			continue
		}
		finds(t, &Process{PID: tid}, "has ended")
		finds(t, &Process{PID: tid, Proc: "/proc"}, "has ended")
		return
	}
	t.Fatal("this process has one thread alone")
}

func TestProcessByPIDFile(t *testing.T) {
	cmd := sleeper(t, "hcfile")
	file := filepath.Join(t.TempDir(), "daemon.pid")
	p := &Process{PIDFile: file}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.Probe(t.Context())
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInconclusive) {
		t.Errorf("without the file: got %v", err)
	}
	pid := cmd.Process.Pid
	for _, text := range []string{"", "\n", "x", "-1", "0", "99999999999", "12x\n", strings.Repeat(" ", 200), "\xff\x00"} {
		write(text)
		finds(t, p, "inconclusive")
	}
	for _, text := range []string{"%d", "%d\n", " %d \r\n", "%d\n/var/lib/postgresql/data\n" + strings.Repeat("x", 500)} {
		write(fmt.Sprintf(text, pid))
		finds(t, p, "")
	}
	finds(t, &Process{PIDFile: file, Name: "hcfile"}, "")
	finds(t, &Process{PIDFile: file, Name: "nginx"}, "want nginx")

	p.pin.start++ // the process has another start than the one that was seen
	finds(t, p, "has ended: another")
	write(strconv.Itoa(pid)) // a daemon that happens to have the same number
	finds(t, p, "")

	unwaited(t, cmd)
	_ = cmd.Wait()
	finds(t, p, "has ended")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	finds(t, p, "the PID file is absent")
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	finds(t, p, "inconclusive")
}

func TestProcessWithAProcOfItsOwn(t *testing.T) {
	proc := t.TempDir()
	add := func(pid int, comm, state string, threads int, cmdline string) {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		stat := fmt.Sprintf("%d (%s) %s 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 %d 0 %d 0 0\n", pid, comm, state, threads, pid*10)
		status := fmt.Sprintf("Name:\t%s\nTgid:\t%d\n", comm, pid)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(dir+"/stat", []byte(stat), 0o600),
			os.WriteFile(dir+"/status", []byte(status), 0o600),
			os.WriteFile(dir+"/comm", []byte(comm+"\n"), 0o600), os.WriteFile(dir+"/cmdline", []byte(cmdline), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	p := &Process{Name: "nginx", Proc: proc}
	finds(t, p, "inconclusive: processes of others are hidden") // there is no 1
	add(1, "init", "S", 1, "/sbin/init\x00")
	finds(t, p, "no such process runs")
	add(70, ") R 1 (x) Z", "S", 1, "")
	finds(t, &Process{Name: ") R 1 (x) Z", Proc: proc}, "")
	add(71, "nginx", "Z", 1, "")
	finds(t, p, "no such process runs")
	add(72, "nginx", "Z", 3, "nginx: master process nginx\x00\x00\x00") // its first thread has ended
	finds(t, p, "")
	finds(t, &Process{Name: "nginx", Args: []string{"nginx: master process"}, Proc: proc}, "")
	finds(t, &Process{Args: []string{"nginx: worker process"}, Proc: proc}, "no such process runs")
	add(73, "nginx", "X", 1, "")
	add(74, "nginx", "T", 1, "nginx: worker process\x00")
	finds(t, &Process{Name: "nginx", AtLeast: 2, Proc: proc}, "")
	finds(t, &Process{Name: "nginx", AtLeast: 3, Proc: proc}, "2 such processes run, want 3")
	finds(t, &Process{PID: 74, Proc: proc}, "")
	finds(t, &Process{PID: 73, Proc: proc}, "has ended")
}

func TestProcessOfACancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&Process{PID: os.Getpid()}).Probe(ctx); !errors.Is(err, ErrInconclusive) {
		t.Errorf("got %v", err)
	}
}

// BenchmarkProcess is the cost of one probe on a machine with 300 processes: with
// one of the name that runs, without any, and by PID file.
func BenchmarkProcess(b *testing.B) {
	sleeper(b, "hcbench0")
	var last *exec.Cmd
	for i := range 300 {
		last = sleeper(b, fmt.Sprintf("hcbench%d", i+1))
	}
	file := filepath.Join(b.TempDir(), "pid")
	if err := os.WriteFile(file, []byte(strconv.Itoa(last.Process.Pid)), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		p    *Process
	}{
		{"name", &Process{Name: "hcbench300"}},
		{"absent", &Process{Name: "hcnobench"}},
		{"pidfile", &Process{PIDFile: file}},
		{"pidfile+name", &Process{PIDFile: file, Name: "hcbench300"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bench.p.Probe(b.Context()); (err != nil) != (bench.name == "absent") {
					b.Fatal(err)
				}
			}
		})
	}
}

// A proxy is watched by its PID file; that the process is an nginx is asked too, as the
// file of one that died stays behind. This program is surely not one.
func ExampleProcess() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "nginx.pid")
	if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	_, err = (&Process{PIDFile: file}).Probe(context.Background())
	fmt.Println(err)
	_, err = (&Process{PIDFile: file, Name: "nginx"}).Probe(context.Background())
	fmt.Println(strings.HasSuffix(err.Error(), "want nginx"))
	// Output:
	// <nil>
	// true
}
