package health

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func processSupported() error { return nil }

// cmdlineMax is how much of a command line is read.
const cmdlineMax = 4096

// statMax is more than the line of /proc/PID/stat takes.
const statMax = 1024

// pidFileMax is how much of a PID file is read: of a longer one the first line is
// what counts.
const pidFileMax = 64

func (p *Process) proc() string {
	if p.Proc == "" {
		return "/proc"
	}
	return p.Proc
}

// probeOne looks for the process with the PID.
func (p *Process) probeOne() error {
	now := pin{pid: p.PID}
	if p.PIDFile != "" {
		var err error
		if now.pid, now.file, err = readPIDFile(p.PIDFile); absent(err) {
			return fmt.Errorf("the PID file is absent: %w", fs.ErrNotExist)
		} else if err != nil {
			return inconclusive(pathless(err))
		}
	}
	if p.Proc == "" {
		fd, err := unix.PidfdOpen(now.pid, 0)
		switch {
		case err == nil:
			defer unix.Close(fd)
			// What is read of a PID is of the process of its pidfd, if that runs afterwards.
			err = p.probePID(&now)
			if exited(fd) {
				return fmt.Errorf("process %d has ended", now.pid)
			}
			if errors.Is(err, errNoTask) { // it runs, but /proc hides it
				err = nil
				if p.Name != "" || len(p.Args) > 0 {
					err = inconclusive(fmt.Errorf("process %d is hidden from us (hidepid of proc(5)): its name is not known", now.pid))
				}
			}
			return err
		case errors.Is(err, unix.ESRCH):
			return fmt.Errorf("process %d has ended", now.pid)
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return fmt.Errorf("process %d has ended: a thread of another has its number", now.pid)
		case !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM):
			return inconclusive(os.NewSyscallError("pidfd_open", err))
		}
	}
	err := p.probePID(&now)
	if err == nil && !p.leads(now.pid) || errors.Is(err, errNoTask) {
		err = fmt.Errorf("process %d has ended", now.pid)
	}
	return err
}

// exited tells whether the process of a pidfd has ended, be it a zombie still.
func exited(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// probePID looks for the process in /proc.
func (p *Process) probePID(now *pin) error {
	t, err := p.look(now.pid)
	if err != nil {
		return err
	}
	now.start = t.start
	p.mu.Lock()
	defer p.mu.Unlock()
	if was := p.pin; was.pid == now.pid && was.file == now.file && was.start != now.start {
		return fmt.Errorf("process %d has ended: another, %s, has its number", now.pid, excerpt([]byte(t.comm)))
	}
	p.pin = *now
	return nil
}

// leads tells whether a PID is that of a process, and not of one of its threads:
// /proc has those too, though it does not list them.
func (p *Process) leads(pid int) bool {
	text, err := os.ReadFile(p.proc() + "/" + strconv.Itoa(pid) + "/status")
	return err == nil && strings.Contains(string(text), fmt.Sprintf("\nTgid:\t%d\n", pid))
}

// errNoTask is that there is no such process in /proc.
var errNoTask = errors.New("no such process")

// look reads what /proc tells of a process that fits.
func (p *Process) look(pid int) (task, error) {
	dir, err := unix.Open(p.proc()+"/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return task{}, procError(err)
	}
	defer unix.Close(dir) // it stays with this process, whoever gets its PID later
	text, err := readAt(dir, "stat", statMax)
	if err != nil {
		return task{}, procError(err)
	}
	t, ok := parseStat(text)
	switch {
	case !ok:
		return t, inconclusive(fmt.Errorf("%s/%d/stat is unreadable: %s", p.proc(), pid, excerpt(text)))
	case !t.runs():
		return t, fmt.Errorf("process %d has ended, and its parent takes no notice (a zombie)", pid)
	}
	cmdline := func() []byte {
		text, _ := readAt(dir, "cmdline", cmdlineMax) // gone is empty
		return text
	}
	if !fitsName(p.Name, t.comm, cmdline) {
		return t, fmt.Errorf("process %d is named %s, want %s", pid, excerpt([]byte(t.comm)), p.Name)
	}
	if !fitsArgs(p.Args, cmdline) {
		return t, fmt.Errorf("process %d runs as %s", pid, excerpt(cmdline()))
	}
	return t, nil
}

// procError tells an absent process from what keeps us from looking.
func procError(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return errNoTask
	}
	return inconclusive(err)
}

// readAt reads the beginning of a small file of /proc.
func readAt(dir int, name string, most int) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, most)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		return buf[:max(n, 0)], err
	}
}

// probeNamed looks for processes that fit: first for those of the last probe.
func (p *Process) probeNamed(want int) error {
	p.mu.Lock()
	found := p.found
	p.mu.Unlock()
	var still []int
	for _, pid := range found {
		if _, err := p.look(pid); err == nil {
			still = append(still, pid)
		}
	}
	if len(still) < want {
		var err error
		if still, err = p.scan(want); err != nil {
			return inconclusive(err)
		}
	}
	p.mu.Lock()
	p.found = still
	p.mu.Unlock()
	switch {
	case len(still) >= want:
		return nil
	case p.hidden():
		return inconclusive(errors.New("processes of others are hidden from us (hidepid of proc(5))"))
	case want == 1:
		return errors.New("no such process runs")
	}
	return fmt.Errorf("%d such processes run, want %d", len(still), want)
}

// hidden tells whether /proc shows us our own processes alone.
func (p *Process) hidden() bool {
	var st unix.Stat_t
	return errors.Is(unix.Stat(p.proc()+"/1", &st), unix.ENOENT)
}

// scan looks through all processes until so many fit.
func (p *Process) scan(want int) (found []int, err error) {
	root, err := os.Open(p.proc())
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for len(found) < want {
		names, err := root.Readdirnames(512)
		if len(names) == 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil && p.perhaps(root, name) {
				if _, err := p.look(pid); err == nil {
					found = append(found, pid)
				}
			}
			if len(found) == want {
				break
			}
		}
	}
	return found, nil
}

// perhaps is a quick look at the name, before the whole one.
func (p *Process) perhaps(root *os.File, pid string) bool {
	if p.Name == "" {
		return true
	}
	comm, err := readAt(int(root.Fd()), pid+"/comm", commMax+1)
	return err == nil && string(comm[:max(len(comm)-1, 0)]) == p.Name[:min(len(p.Name), commMax)]
}

// readPIDFile reads the first line of a PID file, and what tells this writing from
// the next.
func readPIDFile(path string) (pid int, id fileID, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, id, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, id, err
	}
	if !info.Mode().IsRegular() {
		return 0, id, notRegular(info.Mode())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id = fileID{inode: st.Ino, written: info.ModTime().UnixNano()}
	}
	buf := make([]byte, pidFileMax)
	n, err := f.Read(buf)
	if n > 0 || err == nil {
		pid, err = parsePID(buf[:n])
	}
	return pid, id, err
}
