package userspace

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// paced sends requests at a fixed rate, whether answers come or not: what is
// late is late from the moment at which it was due.
func (g *generator) paced() error {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	fds, err := g.open()
	if err != nil {
		return err
	}
	var (
		every = time.Second / time.Duration(g.Rate)
		sent  int
	)
	g.begin, g.from = time.Now(), time.Now()
	for {
		now := time.Now()
		if g.over(now) {
			return nil
		}
		for due := time.Duration(sent) * every; due <= now.Sub(g.from); due = time.Duration(sent) * every {
			fd := fds[sent%len(fds)]
			g.slots[fd].due = append(g.slots[fd].due, due)
			g.ask(fd)
			sent++
		}
		if err := g.round(time.Duration(sent)*every - time.Since(g.from)); err != nil {
			return err
		}
	}
}

// open opens all connections and has one answer of each.
func (g *generator) open() (fds []int, err error) {
	step := g.step
	g.step = g.still
	defer func() { g.step = step }()
	patience := time.Now().Add(4 * time.Minute)
	for len(fds) < g.Conns || g.idle < g.Conns {
		for len(fds) < g.Conns && len(fds)-g.idle < 128 {
			fd, err := g.start(unix.SOCK_STREAM)
			if err != nil {
				return nil, err
			}
			fds = append(fds, fd)
		}
		if err := g.round(100 * time.Millisecond); err != nil {
			return nil, err
		}
		if time.Now().After(patience) || g.Errors > 0 {
			return nil, fmt.Errorf("%d of %d connections are open, %d errors", g.idle, g.Conns, g.Errors)
		}
	}
	return fds, nil
}

// still asks once.
func (g *generator) still(fd int, s *slot, events uint32) {
	if !s.wrote && events&unix.EPOLLOUT != 0 {
		s.wrote = true
		g.ask(fd)
	}
	n, err := tryRead(fd, g.buf[:4096])
	if err == unix.EAGAIN {
		return
	}
	if n <= 0 {
		g.Errors++
		return
	}
	if s.got += n; s.got == requestSize {
		s.got = 0
		g.idle++
	}
}

// answer takes the answers to paced requests.
func (g *generator) answer(fd int, s *slot, _ uint32) {
	for {
		n, err := tryRead(fd, g.buf[:4096])
		if err == unix.EAGAIN {
			return
		}
		if n <= 0 {
			g.Errors++
			return
		}
		now := time.Since(g.from)
		for s.got += n; s.got >= requestSize && len(s.due) > 0; s.got -= requestSize {
			g.late = append(g.late, now-s.due[0])
			s.due = s.due[1:]
			g.count(1)
		}
	}
}

// rest opens connections that do nothing any more.
func (g *generator) rest() error {
	if _, err := g.open(); err != nil {
		return err
	}
	fmt.Println("idle")
	for { // select would be a deadlock to the runtime
		time.Sleep(time.Hour)
	}
}

// flood keeps so many datagrams of each client on the way, and sends them again
// if for 100 ms none is answered. The errors are what was not answered.
func (g *generator) flood() error {
	g.batch = newDatagrams(g.Window, 2048)
	var fds []int
	for range g.Conns {
		fd, err := g.start(unix.SOCK_DGRAM)
		if err != nil {
			return err
		}
		roomy(fd)
		fds = append(fds, fd)
	}
	g.begin = time.Now()
	look := g.begin
	for {
		now := time.Now()
		if g.over(now) {
			g.Errors = max(g.sent-g.Total-g.Conns*g.Window, 0)
			return nil
		}
		if now.Sub(look) > 50*time.Millisecond {
			look = now
			for _, fd := range fds {
				if s := &g.slots[fd]; now.Sub(s.last) > 100*time.Millisecond {
					s.last = now
					g.send(fd, g.Window)
				}
			}
		}
		if err := g.round(10 * time.Millisecond); err != nil {
			return err
		}
	}
}

// datagrams answers datagrams with as many.
func (g *generator) datagrams(fd int, s *slot, events uint32) {
	if events&unix.EPOLLIN == 0 {
		return
	}
	n := g.batch.read(fd)
	if n == 0 {
		return
	}
	s.last = time.Now()
	g.count(n)
	g.send(fd, n)
}

func (g *generator) send(fd, n int) {
	for i := range n {
		g.batch.msgs[i].n = requestSize
		g.batch.msgs[i].hdr.Namelen = 0
	}
	g.batch.write(fd, n)
	g.sent += n
}
