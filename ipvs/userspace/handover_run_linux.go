package userspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// heirPatience is how long a successor waits for another one to be gone.
const heirPatience = time.Second

// runPlane is the plane's run, which ends when a successor runs.
func (e *Engine) runPlane(ctx context.Context) error {
	if e.cfg.Handover == "" {
		return e.plane.run(ctx)
	}
	socket, err := newHandoverSocket(e.cfg.Handover)
	if err == nil && e.predecessor == nil {
		err = socket.publish(false)
	}
	if err != nil {
		return fmt.Errorf("handover socket %s: %w", e.cfg.Handover, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &succession{e: e, socket: socket, links: map[*link]struct{}{}, succeeded: func() { cancel(ErrSucceeded) }}
	var wg sync.WaitGroup
	wg.Go(func() { e.succeed(ctx, socket) })
	wg.Go(func() { s.serve(ctx) })
	err = e.plane.run(ctx)
	cancel(nil)
	wg.Wait()
	if err == nil && errors.Is(context.Cause(ctx), ErrSucceeded) {
		return ErrSucceeded
	}
	return err
}

// succeed tells the predecessor, if there is one, when the plane runs, and takes
// its place.
func (e *Engine) succeed(ctx context.Context, socket *handoverSocket) {
	p := e.predecessor
	if p == nil {
		return
	}
	e.predecessor = nil
	defer p.close()
	defer context.AfterFunc(ctx, p.close)()
	if !e.alive(ctx) {
		socket.abandon()
		return
	}
	final, err := p.finish()
	e.mu.Lock()
	e.share(false)
	if err == nil {
		e.catchUp(final, p.left)
	}
	e.mu.Unlock()
	if err != nil {
		e.log.Warn("the predecessor has gone before its time", "peer", p.pid, "err", err)
	} else {
		e.log.Info("predecessor succeeded", "peer", p.pid)
	}
	if err := socket.publish(err == nil); err != nil {
		e.log.Error("no successor will find this process", "handover", socket.path, "err", err)
	}
}

// finish ends the predecessor, and is the estate with its last counters.
func (p *predecessor) finish() (*estate, error) {
	if err := p.send(messageRunning, nil, nil); err != nil {
		return nil, err
	}
	m, err := p.receive(messageFinal, handoverPatience)
	if err != nil {
		return nil, err
	}
	defer m.close()
	return parseEstate(m.body, len(m.fds))
}

// alive waits until all workers are at work, and what they were sent before has
// been done. It is false if ctx ends first.
func (e *Engine) alive(ctx context.Context) bool {
	ws, ok := e.plane.(*workers)
	if !ok {
		return true
	}
	at := make(chan struct{}, len(ws.all))
	for _, w := range ws.all {
		w.post(func() { at <- struct{}{} })
	}
	for range ws.all {
		select {
		case <-at:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// succession is the predecessor's side: it serves successors while Run runs.
type succession struct {
	e         *Engine
	socket    *handoverSocket
	succeeded func()
	wg        sync.WaitGroup

	mu    sync.Mutex
	links map[*link]struct{}
	heir  int  // the process that has the estate, and does not run yet; 0: none
	ended bool // nobody comes any more
}

// serve takes successors until ctx ends, or for a moment longer if one runs: its
// own socket must have taken the name of this one before this one goes.
func (s *succession) serve(ctx context.Context) {
	defer s.wg.Wait()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		if !errors.Is(context.Cause(ctx), ErrSucceeded) {
			s.close()
		}
	})
	defer func() {
		if !stop() {
			<-ended // the socket has no name any more
		}
	}()
	for {
		conn, err := s.socket.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.e.log.Error("no successor can take over", "handover", s.socket.path, "err", err)
			s.close()
			return
		}
		l, err := newLink(conn)
		if err != nil {
			s.e.log.Warn("successor refused", "err", err)
			continue
		}
		if !s.enter(l) {
			l.close()
			return
		}
		s.wg.Go(func() {
			defer s.leave(l)
			s.converse(ctx, l)
		})
	}
}

func (s *succession) enter(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.links[l] = struct{}{}
	}
	return !s.ended
}

func (s *succession) leave(l *link) {
	l.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.links, l)
}

// close ends all conversations, and lets nobody come any more.
func (s *succession) close() {
	s.mu.Lock()
	s.ended = true
	for l := range s.links {
		l.close()
	}
	s.mu.Unlock()
	s.socket.remove()
}

// converse is the conversation with one successor.
func (s *succession) converse(ctx context.Context, l *link) {
	m, err := l.receive(messageTake, handoverPatience)
	if err != nil {
		if !errors.Is(err, io.EOF) { // it only wanted to know whether somebody is here
			s.e.log.Warn("successor refused", "peer", l.pid, "err", err)
			l.send(messageRefusal, []byte(err.Error()), nil)
		}
		return
	}
	m.close()
	if other := s.claim(l.pid); other != 0 {
		l.send(messageRefusal, fmt.Appendf(nil, "process %d is about to take over: let it run, or end it", other), nil)
		return
	}
	runs := s.bequeath(ctx, l)
	s.disclaim()
	if !runs {
		return
	}
	// The other side closes when its socket has taken the place of this one.
	l.receive(messageRunning, handoverPatience)
	s.close()
}

// claim makes a process the heir, unless there is one: then it is that one. One
// that has just been killed has a moment to be found missing.
func (s *succession) claim(pid int) (other int) {
	for end := time.Now().Add(heirPatience); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		other = s.heir
		if other == 0 {
			s.heir = pid
		}
		s.mu.Unlock()
		if other == 0 || time.Now().After(end) {
			return other
		}
	}
}

func (s *succession) disclaim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heir = 0
}

// bequeath hands the estate to a successor, and tells whether it runs. Until
// then nothing is changed here.
func (s *succession) bequeath(ctx context.Context, l *link) (runs bool) {
	log := s.e.log.With("peer", l.pid)
	err := s.hand(l)
	if err == nil {
		log.Info("table handed over")
		_, err = l.receive(messageRunning, 0)
	}
	if err != nil {
		s.e.mu.Lock()
		s.e.share(false)
		s.e.mu.Unlock()
		if ctx.Err() == nil {
			log.Warn("the successor does not take over", "err", err)
		}
		return false
	}
	s.e.plane.pause()
	s.e.alive(ctx)
	s.e.mu.Lock()
	final := s.e.estate()
	s.e.mu.Unlock()
	for i := range final.Services {
		final.Services[i].Sockets = 0
	}
	body, err := json.Marshal(final)
	if err == nil {
		err = l.send(messageFinal, body, nil)
	}
	if err != nil {
		log.Warn("the last counters do not reach the successor", "err", err)
	}
	log.Info("a successor runs: this process ends")
	s.succeeded()
	return true
}

// hand sends the estate with the sockets.
func (s *succession) hand(l *link) error {
	left, fds, err := s.e.inventory()
	defer closeAll(fds)
	var body []byte
	if err == nil {
		body, err = json.Marshal(left)
	}
	if err != nil {
		l.send(messageRefusal, []byte(err.Error()), nil)
		return err
	}
	return l.send(messageEstate, body, fds)
}

// inventory is the estate with copies of its sockets, which are the caller's,
// even on an error.
func (e *Engine) inventory() (left *estate, fds []int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	left = e.estate()
	for i := range left.Services {
		one := &left.Services[i]
		for _, fd := range e.services[one.Service.ID].front.descriptors() {
			n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return nil, fds, os.NewSyscallError("fcntl", err)
			}
			fds = append(fds, n)
			one.Sockets++
		}
	}
	return left, fds, nil
}
