package health

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Process looks whether local processes run: one that a PID file names, one with a
// certain PID, or at least so many of a name (keepalived: track_process). A zombie
// does not run; a stopped process does. It takes Linux: elsewhere Validate and Probe
// match errors.ErrUnsupported.
//
// A *Process is a Prober that remembers what it found, and so must not be copied once
// used. By a PID file or a PID a probe takes a few system calls. By name it does as
// long as the processes found before still run; else it looks through all of them,
// which takes about 10 µs for each process of the machine.
type Process struct {
	// PIDFile is a file whose first line is a PID in this process's PID namespace. It
	// is read anew by each probe. If it is absent, the process does not run; if it
	// holds no PID, because it is just being written, the probe is inconclusive.
	PIDFile string
	// PID is used instead of PIDFile; 0 is none.
	PID int
	// Name is the name of the program as of /proc/PID/comm. The kernel keeps 15 bytes
	// of it; of a longer one the file name of the program, or of the script that it
	// interprets, is compared too. With PIDFile or PID it is a condition: a stale PID
	// file may name a process that has nothing to do with it.
	Name string
	// Args is how the command line begins, from the program on (/proc/PID/cmdline):
	// each but the last has to be the same, the last need only begin alike, as in
	// []string{"nginx: master process"}. It is a condition like Name, and may stand
	// without it.
	Args []string
	// AtLeast is how many have to run that fit Name and Args; 0 means 1. All count
	// that /proc shows, those in containers too.
	AtLeast int
	// Proc is where proc(5) is mounted; "" means /proc. Only with that are processes
	// that hidepid hides from us seen by their PID.
	Proc string

	mu    sync.Mutex // guards what is below
	found []int      // by name, at the last probe
	pin   pin
}

// pin is a process known by its PID. The same PID with another start is another
// process, unless the PID file has been written anew.
type pin struct {
	pid   int
	start uint64 // ticks since boot
	file  fileID
}

// fileID changes when a file is written anew.
type fileID struct {
	inode   uint64
	written int64 // ns
}

// commMax is how much the kernel keeps of a name (TASK_COMM_LEN of linux/sched.h, less
// the final zero).
const commMax = 15

// pidMax is the largest PID (PID_MAX_LIMIT of linux/threads.h).
const pidMax = 1 << 22

// Validate tells whether the fields make sense. No process need run.
func (p *Process) Validate() error {
	err := p.check()
	if err == nil {
		err = processSupported()
	}
	return opError("find", p.object(), err)
}

func (p *Process) check() error {
	one := p.PIDFile != "" || p.PID != 0
	switch {
	case p.PIDFile != "" && p.PID != 0:
		return invalid("both PIDFile and PID are set")
	case !one && p.Name == "" && len(p.Args) == 0:
		return invalid("one of PIDFile, PID, Name, Args must be set")
	case p.PID < 0 || p.PID > pidMax:
		return invalid("PID %d: want 1 to %d", p.PID, pidMax)
	case p.AtLeast < 0:
		return invalid("AtLeast is %d", p.AtLeast)
	case one && p.AtLeast > 1:
		return invalid("AtLeast is %d, and a PID is of one process", p.AtLeast)
	case strings.ContainsAny(p.Name, "\x00/"):
		return invalid("Name has no slashes and zero bytes: it is no path")
	case strings.ContainsRune(p.PIDFile, 0) || slices.ContainsFunc(p.Args, func(a string) bool { return strings.ContainsRune(a, 0) }):
		return invalid("paths and arguments have no zero bytes")
	}
	return nil
}

// object says what is looked for.
func (p *Process) object() string {
	switch {
	case p.PIDFile != "":
		return "process of " + p.PIDFile
	case p.PID != 0:
		return "process " + strconv.Itoa(p.PID)
	case p.Name != "":
		return "process " + p.Name
	}
	return "process " + strings.Join(p.Args, " ")
}

// Probe looks once.
func (p *Process) Probe(ctx context.Context) (Report, error) {
	err := p.check()
	if err != nil {
		err = inconclusive(err)
	} else if err = ctx.Err(); err != nil {
		err = fault(ended(ctx, err))
	} else if p.PIDFile != "" || p.PID != 0 {
		err = p.probeOne()
	} else {
		err = p.probeNamed(max(p.AtLeast, 1))
	}
	return Report{}, opError("find", p.object(), err)
}

// task is a process as of /proc/PID/stat.
type task struct {
	pid     int
	comm    string
	state   byte
	threads int
	start   uint64 // ticks since boot
}

// runs tells whether the process has not ended: one whose first thread has, is a
// zombie by its state, but goes on with the others.
func (t task) runs() bool {
	switch t.state {
	case 'Z':
		return t.threads > 1
	case 'X', 'x':
		return false
	}
	return true
}

// parseStat reads /proc/PID/stat (proc_pid_stat(5)). The name in it is the process's
// own choice: only its last bracket ends it.
func parseStat(text []byte) (task, bool) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 2 || end < open {
		return task{}, false
	}
	f := bytes.Fields(text[end+1:]) // from the third field on
	if len(f) < 20 || len(f[0]) != 1 {
		return task{}, false
	}
	pid, err1 := strconv.Atoi(string(text[:open-1]))
	threads, err2 := strconv.Atoi(string(f[20-3]))
	start, err3 := strconv.ParseUint(string(f[22-3]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return task{}, false
	}
	return task{pid, string(text[open+1 : end]), f[0][0], threads, start}, true
}

// parsePID reads a PID file.
func parsePID(text []byte) (int, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.Trim(line, " \t\r")
	pid, err := strconv.ParseUint(string(line), 10, 32)
	if err != nil || pid == 0 || pid > pidMax {
		return 0, fmt.Errorf("the first line of the PID file is %s, no PID", excerpt(line))
	}
	return int(pid), nil
}

// fitsName tells whether a process is named so. cmdline is called for long names
// alone.
func fitsName(name, comm string, cmdline func() []byte) bool {
	if len(name) <= commMax {
		return name == "" || name == comm
	}
	if comm != name[:commMax] {
		return false
	}
	args := bytes.SplitN(cmdline(), []byte{0}, 3)
	for _, a := range args[:min(len(args), 2)] { // the program, the script
		if string(a[bytes.LastIndexByte(a, '/')+1:]) == name {
			return true
		}
	}
	return false
}

// fitsArgs tells whether a command line, whose arguments end in zero bytes, begins as
// wanted.
func fitsArgs(want []string, cmdline func() []byte) bool {
	if len(want) == 0 {
		return true
	}
	text := string(cmdline())
	for _, w := range want[:len(want)-1] {
		var ok bool
		if text, ok = strings.CutPrefix(text, w+"\x00"); !ok {
			return false
		}
	}
	return text != "" && strings.HasPrefix(text, want[len(want)-1])
}
