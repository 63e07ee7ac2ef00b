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

	out    *batch                 // of real servers
	of     [batchMost]*udpSession // in the slots
	filled int                    // slots of it
	by     *udpSocket             // by which they go out
	queued bool                   // in worker.again

	outbox outbox // for either
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

// commit says that the session has filled n of the slots. They are sent at the
// end of the round at the latest.
func (u *udpWorker) commit(s *udpSession, n int) {
	for i := u.filled; i < u.filled+n; i++ {
		u.of[i] = s
	}
	u.filled += n
	if !u.queued {
		u.queued = true
		s.sock.w.later(u)
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
	for i, s := range u.of[:u.filled] {
		u.outbox.add(u.out, i, s, &s.name, s.size())
	}
	u.by.front.lost.add(u.outbox.send(u.by.fd))
	clear(u.of[:u.filled])
	u.filled = 0
}
