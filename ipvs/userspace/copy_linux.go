package userspace

import "golang.org/x/sys/unix"

const (
	bufferSize = 32 << 10 // bytes of the buffers through which small data goes
	roundMost  = 1 << 20  // bytes of one direction in a round, and what one splice moves
	little     = 16 << 10 // bytes: a pipe is not worth while for less
	littleMost = 4        // times in a row
)

// half is one direction of a connection.
type half struct {
	from, to *side
	rest     []byte // of buf: read, and not written yet
	buf      []byte // nil when there is no rest
	pipe     *pipe  // nil when there is nothing in it
	splicing bool   // much is coming: go by a pipe
	littles  uint8  // how often it was little, one after another
	shut     bool   // to knows that nothing more comes
}

func (h *half) reset() { *h = half{from: h.from, to: h.to} }

// pending tells whether something was taken from one side, and is not with the
// other.
func (h *half) pending() bool { return h.pipe != nil || len(h.rest) > 0 }

// prepend makes a header the first that is written.
func (h *half) prepend(header []byte) { h.rest = header }

// drop ends what is pending.
func (h *half) drop(w *worker) {
	if h.pipe != nil {
		w.tcp.putPipe(&w.ws.limits, h.pipe)
		h.pipe = nil
	}
	h.done(w)
}

// done gives the buffer back.
func (h *half) done(w *worker) {
	h.rest = nil
	if h.buf == nil {
		return
	}
	if len(w.tcp.spare) < buffersIdle {
		w.tcp.spare = append(w.tcp.spare, h.buf)
	}
	h.buf = nil
}

const buffersIdle = 16 // that a worker keeps

// newBuffer is a buffer.
func (t *tcpWorker) newBuffer() []byte {
	if last := len(t.spare) - 1; last >= 0 {
		b := t.spare[last]
		t.spare = t.spare[:last]
		return b
	}
	return make([]byte, bufferSize)
}

// pump moves what can be moved in one direction. It is false if the connection
// has ended.
func (t *tcp) pump(h *half) bool {
	moved := 0
	for {
		if h.pending() {
			if !h.to.writable {
				return true
			}
			if !t.flush(h) {
				return t.refused(h)
			}
			continue
		}
		if h.shut || !h.from.readable || !h.to.writable || h.to.broken {
			return true
		}
		if moved >= roundMost {
			t.later()
			return true
		}
		n, errno := t.fill(h)
		switch {
		case errno == unix.EAGAIN:
			h.from.readable = false
			return true
		case errno != 0:
			t.end(true)
			return false
		case n == 0:
			if h.from.broken {
				t.end(true)
				return false
			}
			return t.halfClose(h)
		}
		moved += n
	}
}

// later goes on in the next round.
func (t *tcp) later() {
	if !t.queued {
		t.queued = true
		t.w.later(t)
	}
}

// refused is called when a side takes nothing any more. What it has still to say
// goes to the other side, and then that gets a reset.
func (t *tcp) refused(h *half) bool {
	h.drop(t.w)
	h.to.broken = true
	back := t.reads(h.to)
	if back.shut || h.from.broken { // nothing, or nobody to say it to
		t.end(true)
		return false
	}
	h.to.readable = true
	if h == &t.down {
		return t.pump(back)
	}
	return true // forward goes on with it
}

// fill takes something from one side, and gives it to the other as far as that
// takes it. Nothing is pending.
func (t *tcp) fill(h *half) (int, unix.Errno) {
	if h.splicing {
		return t.fillPipe(h)
	}
	w := t.w
	if w.tcp.buffer == nil {
		w.tcp.buffer = w.tcp.newBuffer()
	}
	n, errno := rawRead(h.from.fd, w.tcp.buffer)
	if errno != 0 || n == 0 {
		return 0, errno
	}
	if n == bufferSize {
		h.splicing, h.littles = true, 0
	} else if !h.from.finished {
		h.from.readable = false
	}
	h.buf, h.rest = w.tcp.buffer, w.tcp.buffer[:n]
	w.tcp.buffer = nil
	return n, 0
}

func (t *tcp) fillPipe(h *half) (int, unix.Errno) {
	w := t.w
	p := w.tcp.pipe(&w.ws.limits)
	if p == nil {
		h.splicing = false
		return t.fill(h)
	}
	n, errno := rawSplice(h.from.fd, p.w, pipeSize)
	if errno != 0 || n == 0 {
		w.tcp.putPipe(&w.ws.limits, p)
		return 0, errno
	}
	if n < little {
		if h.littles++; h.littles == littleMost {
			h.splicing = false
		}
	} else {
		h.littles = 0
	}
	p.n = n
	h.pipe = p
	return n, 0
}

// flush writes what is pending. It is false if the side takes nothing any more.
func (t *tcp) flush(h *half) bool {
	var n int
	var errno unix.Errno
	switch {
	case len(h.rest) > 0:
		n, errno = rawSend(h.to.fd, h.rest)
	default:
		n, errno = rawSplice(h.pipe.r, h.to.fd, h.pipe.n)
	}
	switch {
	case errno == unix.EAGAIN:
		h.to.writable = false
		return true
	case errno != 0:
		return false
	}
	t.count(h, n)
	if len(h.rest) > 0 {
		if h.rest = h.rest[n:]; len(h.rest) == 0 {
			h.done(t.w)
		} else {
			h.to.writable = false
		}
		return true
	}
	if h.pipe.n -= n; h.pipe.n == 0 {
		t.w.tcp.putPipe(&t.w.ws.limits, h.pipe)
		h.pipe = nil
	}
	return true
}

// count tells the table what was moved: as packets count the pieces in which it
// was, since the segments of TCP are the kernel's affair.
func (t *tcp) count(h *half, n int) {
	if h == &t.up {
		t.c.received(t.w.now, 1, n)
	} else {
		t.c.sent(t.w.now, 1, n)
	}
}
