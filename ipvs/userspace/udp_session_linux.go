package userspace

import (
	"golang.org/x/sys/unix"
)

// udpSession is the way of a client's datagrams to a real server and of the
// answers back. It has a connected socket of its own, by whose port the real
// server tells clients apart. The worker's goroutine alone touches it.
type udpSession struct {
	sock   *udpSocket
	c      *connection
	key    sessionKey
	name   unix.RawSockaddrInet6 // of the client
	fd     int                   // towards the real server; -1: none
	entry  entry
	header []byte // what the real server is to be told before the first datagram
	burst  int    // how many answers are expected at a time, less one
	apart  bool   // its datagrams cannot be joined

	assigned    bool // it has datagrams in udpWorker.in
	first, last int  // the slots of them
}

// open makes the socket towards the real server. It is nil, and the session
// ended, if there is none to be had.
func (s *udpSession) open() *udpSession {
	k, w := s.sock, s.sock.w
	fd, _, err := w.dial(s.c, unix.SOCK_DGRAM)
	if err == nil {
		upstream{fd: fd}.set(unix.SOL_UDP, unix.UDP_GRO) // Linux 5.0; else they come one by one
		if err = w.watch(fd, unix.EPOLLIN, s); err != nil {
			rawClose(fd)
		}
	}
	if err != nil {
		k.unreached(s.c.dest, err)
		k.front.e.leave(s.c)
		w.ws.give()
		return nil
	}
	s.fd = fd
	s.header = s.c.header(k.front.service.ID.Addr, unix.SOCK_DGRAM)
	k.sessions[s.key] = s
	return s
}

// unreached counts a client's datagram for which there is no socket towards the
// real server.
func (k *udpSocket) unreached(d *destination, err error) {
	if k.front.lost.unreached.Add(1)&(1<<10-1) != 1 {
		return
	}
	k.front.e.log.Warn("a udp client is dropped, and maybe others", "service", k.front.service.ID.String(), "backend", d.Addr.String(), "err", err)
}

// cut ends the session. It is owner's.
func (s *udpSession) cut() { s.sock.w.post(s.end) }

// expire ends the session. It is expirer's.
func (s *udpSession) expire() { s.end() }

// end ends the session: its client's next datagram begins another.
func (s *udpSession) end() {
	if s.fd < 0 {
		return
	}
	k, w := s.sock, s.sock.w
	w.untouch(&s.entry)
	w.drop(s.fd)
	s.fd = -1
	delete(k.sessions, s.key)
	k.front.e.leave(s.c)
	w.ws.give()
}

// forward sends the client's datagrams that the worker has received.
func (s *udpSession) forward(u *udpWorker) {
	b, packets, bytes := u.in, 0, 0
	for i := s.first; ; i = u.next[i] {
		packets += b.packets(i)
		bytes += int(b.msgs[i].size)
		if s.header == nil || s.introduce(b, i) {
			u.outbox.add(b, i, s, nil, 0)
		}
		if i == s.last {
			break
		}
	}
	s.assigned = false
	s.sock.w.touch(&s.entry, queueUDP)
	s.c.received(s.sock.w.now, packets, bytes+packets*s.overhead())
	s.sock.front.lost.add(u.outbox.send(s.fd))
}

// introduce sends the first datagram with the header in front. It is true if
// there is more in the slot, to be sent as ever.
func (s *udpSession) introduce(b *batch, i int) bool {
	data := b.data(i)
	if segment := int(b.segments[i]); segment != 0 {
		data = data[:segment]
	}
	if errno := sendto(s.fd, append(s.header, data...), nil, 0); errno == 0 {
		s.header = nil
	} else {
		s.sock.front.lost.unsent.Add(1)
	}
	return b.skip(i, len(data))
}

// ready takes answers of the real server.
func (s *udpSession) ready(uint32) {
	u, w := s.sock.w.udp, s.sock.w
	from, to := u.reserve(s.sock, s.burst+1)
	n, errno := u.out.receive(s.fd, from, to, false)
	if errno != 0 {
		if errno != unix.EAGAIN {
			s.sock.front.lost.reported.Add(1)
		}
		return
	}
	// Trying for more than there is costs something for each of many clients;
	// trying for less does for one that has many answers.
	s.burst = n - 1
	if n == to-from {
		s.burst = 2*n - 1
	}
	packets, bytes := 0, 0
	for i := from; i < from+n; i++ {
		packets += u.out.packets(i)
		bytes += int(u.out.msgs[i].size)
	}
	u.commit(s, n)
	w.touch(&s.entry, queueUDP)
	s.c.sent(w.now, packets, bytes+packets*s.overhead())
}

// size is that of the client's address.
func (s *udpSession) size() uint32 {
	if s.key.is6 != 0 {
		return unix.SizeofSockaddrInet6
	}
	return unix.SizeofSockaddrInet4
}

// overhead is what the kernel counts of a datagram besides its data: the headers
// of IP and UDP.
func (s *udpSession) overhead() int {
	if s.key.is6 != 0 {
		return 40 + 8
	}
	return 20 + 8
}
