package userspace

import "golang.org/x/sys/unix"

const (
	pipeSize  = 1 << 20 // bytes, as large as an ordinary user may have it (fs.pipe-max-size)
	pipesIdle = 16      // that a worker keeps
)

// pipe carries what goes from one socket to another without a copy.
type pipe struct {
	r, w int
	n    int // bytes in it
}

// pipe is an empty one, nil if none can be had.
func (t *tcpWorker) pipe(l *limits) *pipe {
	if last := len(t.pipes) - 1; last >= 0 {
		p := t.pipes[last]
		t.pipes = t.pipes[:last]
		return p
	}
	if l.pipes.Add(1) > l.mostPipes {
		l.pipes.Add(-1)
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		l.pipes.Add(-1)
		return nil
	}
	for size := pipeSize; size > 1<<16; size /= 2 {
		if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, size); err == nil {
			break
		}
	}
	return &pipe{r: fds[0], w: fds[1]}
}

// putPipe gives one back. One that is not empty ends.
func (t *tcpWorker) putPipe(l *limits, p *pipe) {
	if p.n == 0 && len(t.pipes) < pipesIdle {
		t.pipes = append(t.pipes, p)
		return
	}
	p.close(l)
}

func (p *pipe) close(l *limits) {
	rawClose(p.r)
	rawClose(p.w)
	l.pipes.Add(-1)
}
