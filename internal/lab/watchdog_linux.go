package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// watchdogScript waits for the lab's end of its input to close, which the
// kernel does however the lab's process ends. Then it kills all others in its
// network namespace. By being there it keeps the namespace, so that the number
// cannot stand for a younger one meanwhile.
const watchdogScript = `
read -r _
own=$(readlink /proc/$$/ns/net) IFS='
'
for round in 1 2 3; do
	set +f
	all=$(ls -l /proc/[0-9]*/ns/net)
	set -f
	for line in $all; do
		pid=${line#*/proc/} pid=${pid%%/*}
		case $line in
		*"/proc/$$/"*) ;;
		*"-> $own") kill -9 "$pid" ;;
		esac
	done
done`

// startWatchdog starts the process that outlives a killed lab, before the
// host's first program, from the forking thread with the lab locked. Without
// a shell there is none: then a killed lab leaves what its programs left.
func (h *Host) startWatchdog() {
	if h.watched {
		return
	}
	h.watched = true
	cmd := exec.Command("/bin/sh", "-c", watchdogScript)
	cmd.Dir = "/"
	cmd.Stdin = h.lab.alive.reader
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no signal of a terminal
	if err := cmd.Start(); err != nil {
		h.lab.log.Debug("no watchdog", "host", h.name, "err", err)
		return
	}
	h.lab.users.Go(func() { cmd.Wait() }) // endLeft kills it
}

// pipe is what watchdogs read: nothing, until the writer is gone.
type pipe struct{ reader, writer *os.File }

// endLeft kills all other processes in the namespaces until there are none.
func endLeft(ids map[string]bool) {
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

// processesIn lists the other processes in the namespaces.
func processesIn(ids map[string]bool) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		id, err := os.Readlink(dir + "/ns/net")
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if err == nil && ids[id] && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
