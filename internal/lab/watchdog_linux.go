package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// watchdogScript reads namespaces, a line each, until the lab's end of the
// pipe closes, which the kernel does however the lab's process ends. Then it
// kills what still runs in them.
const watchdogScript = `
while read -r ns; do set -- "$@" "$ns"; done
for round in 1 2 3; do
	for p in /proc/[0-9]*; do
		have=$(readlink "$p/ns/net") || continue
		for ns; do
			[ "$have" != "$ns" ] || kill -9 "${p#/proc/}"
		done
	done
done`

// watchdog is the process that outlives a lab that is killed.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// startWatchdog starts the watchdog before the lab's first program, with the
// lab locked. Without a shell there is none: then a killed lab leaves what
// its programs have left.
func (l *Lab) startWatchdog() {
	if l.dog != nil {
		return
	}
	l.dog = &watchdog{cmd: exec.Command("/bin/sh", "-c", watchdogScript)}
	l.dog.cmd.Dir = "/"
	l.dog.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no signal of a terminal
	pipe, err := l.dog.cmd.StdinPipe()
	if err == nil {
		err = l.dog.cmd.Start()
	}
	if err != nil {
		l.log.Debug("no watchdog", "err", err)
		return
	}
	l.dog.pipe = pipe
	for _, id := range l.spaces() {
		l.dog.watch(id)
	}
}

func (w *watchdog) watch(id string) {
	if w.pipe != nil {
		fmt.Fprintln(w.pipe, id) // an error is the watchdog's death: nothing to do
	}
}

// close ends the watchdog without its doing anything.
func (w *watchdog) close() {
	if w.pipe != nil {
		w.cmd.Process.Kill()
		w.cmd.Wait()
		w.pipe.Close()
	}
}

// endLeft kills all processes in the namespaces ids, until there are none.
func endLeft(ids []string) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		pids := processesIn(ids)
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// processesIn lists the other processes in the namespaces ids.
func processesIn(ids []string) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		id, err := os.Readlink(dir + "/ns/net")
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if err == nil && slices.Contains(ids, id) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
