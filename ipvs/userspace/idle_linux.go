package userspace

import "time"

// queue is a list of what may be idle for one and the same time.
type queue int

const (
	queueOpening     queue = iota // Config.ConnectTimeout
	queueEstablished              // ipvs.Timeouts.TCP
	queueFin                      // ipvs.Timeouts.TCPFin
	queueUDP                      // ipvs.Timeouts.UDP
	queues
)

// touchEvery is how exactly activity is remembered: what is busy changes its
// place once in that time.
const touchEvery = 32 * time.Millisecond

// entry is a connection of a worker in one of its queues, which are in the
// order of the last activity. It is part of the connection's own struct.
type entry struct {
	conn       expirer
	at         time.Duration // when it was last touched
	queue      queue
	queued     bool
	prev, next *entry
}

// expirer is what an entry is of.
type expirer interface {
	// expire ends the connection, with resets, and takes its entry out. It is
	// idle, or Run ends.
	expire()
}

// drainer is an expirer that may have something on its way yet.
type drainer interface {
	// drains tells whether a peer has taken some of it since this was last asked,
	// or since something was forwarded.
	drains() bool
}

// idleList has the longest idle in front.
type idleList struct{ head, tail *entry }

// drainSilence is how long a UDP session has to be silent to have ended when Run
// is to end: nothing else tells.
const drainSilence = 3 * time.Second

// touch says that something was forwarded, and which timeout holds from now on.
func (w *worker) touch(n *entry, q queue) {
	if n.queued && n.queue == q && w.now-n.at < touchEvery {
		return
	}
	w.untouch(n)
	n.at, n.queue, n.queued = w.now, q, true
	l := &w.idle[q]
	n.prev, n.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = n
	} else {
		l.head = n
	}
	l.tail = n
	w.conns++
}

// untouch takes an entry out.
func (w *worker) untouch(n *entry) {
	if !n.queued {
		return
	}
	l := &w.idle[n.queue]
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.head = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		l.tail = n.prev
	}
	n.prev, n.next, n.queued = nil, nil, false
	w.conns--
}

// expire ends what has been idle for too long.
func (w *worker) expire() {
	w.e.mu.Lock()
	t := w.e.timeouts
	w.e.mu.Unlock()
	limits := [queues]time.Duration{
		queueOpening: w.ws.connectTimeout, queueEstablished: t.TCP, queueFin: t.TCPFin, queueUDP: t.UDP,
	}
	if w.draining {
		limits[queueUDP] = min(t.UDP, drainSilence)
	}
	for q := range w.idle {
		for n := w.idle[q].head; n != nil && n.at+limits[q]+touchEvery <= w.now; n = w.idle[q].head {
			if d, ok := n.conn.(drainer); ok && d.drains() {
				w.touch(n, n.queue)
				continue
			}
			n.conn.expire()
		}
	}
}

// cutAll ends all connections.
func (w *worker) cutAll() {
	for q := range w.idle {
		for w.idle[q].head != nil {
			w.idle[q].head.conn.expire()
		}
	}
}
