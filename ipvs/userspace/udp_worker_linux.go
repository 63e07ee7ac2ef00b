package userspace

// udpWorker is what a worker has for UDP: datagrams on their way, in both
// directions. What comes by one socket of a service is received at once,
// assigned to sessions, and sent for each of them at once. Answers, which come
// by the sockets of the sessions, are collected in the round, and sent at once
// by the socket of the service.
type udpWorker struct {
	in       *batch         // of clients
	assigned []*udpSession  // who have sent them
	next     [batchMost]int // the slot after a slot, of the same session
	send     [batchMost]mmsghdr

	out    *batch     // of real servers
	filled int        // slots of it
	by     *udpSocket // by which they go out
	queued bool       // in worker.again
}

func newUDPWorker() *udpWorker {
	return &udpWorker{in: newBatch(), out: newBatch(), assigned: make([]*udpSession, 0, batchMost)}
}

// assign gives a session the datagram in a slot.
func (u *udpWorker) assign(s *udpSession, i int) {
	if s.assigned {
		u.next[s.last] = i
	} else {
		s.assigned, s.first = true, i
		u.assigned = append(u.assigned, s)
	}
	s.last = i
}

// reserve are up to n slots for answers that go out by k.
func (u *udpWorker) reserve(k *udpSocket, n int) (from, to int) {
	if u.by != k || u.filled == batchMost {
		u.flush()
		u.by = k
	}
	return u.filled, min(u.filled+n, batchMost)
}

// commit says that n of the slots have been filled. They are sent at the end of
// the round at the latest.
func (u *udpWorker) commit(w *worker, n int) {
	u.filled += n
	if !u.queued {
		u.queued = true
		w.later(u)
	}
}

// again is the end of the round. It is againer's.
func (u *udpWorker) again() {
	u.queued = false
	u.flush()
}

// flush sends the answers.
func (u *udpWorker) flush() {
	if u.filled == 0 {
		return
	}
	dropped, reported := sendAll(u.by.fd, u.out.msgs[:u.filled])
	u.by.front.lost.unsent.Add(uint64(dropped))
	u.by.front.lost.reported.Add(uint64(reported))
	u.filled = 0
}
