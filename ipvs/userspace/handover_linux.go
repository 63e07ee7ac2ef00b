package userspace

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
	"github.com/lvskit/lvskit/ipvs"
)

// predecessor is the link to the process whose table this one has taken over,
// until this one runs.
type predecessor struct {
	*link
	left *estate
}

func (p *predecessor) close() {
	if p != nil {
		p.link.close()
	}
}

// inherit takes over the table and the sockets of a predecessor, if there is
// one. It is part of Open.
func (e *Engine) inherit() error {
	path := e.cfg.Handover
	if path == "" || e.plane == nil {
		return nil
	}
	if err := checkHandover(path); err != nil {
		return err
	}
	p, fds, err := takeOver(path)
	if err != nil {
		return fmt.Errorf("handover socket %s: %w", path, err)
	}
	if p == nil {
		return nil
	}
	if err := e.enterInto(p.left, fds); err != nil {
		p.close()
		return fmt.Errorf("what process %d hands over: %w", p.pid, err)
	}
	e.predecessor = p
	e.log.Info("table taken over", "peer", p.pid, "services", len(p.left.Services), "sockets", len(fds))
	return nil
}

// takeOver is the conversation with the predecessor, nil if there is none. One
// that ends in its course is none either.
func takeOver(path string) (*predecessor, []int, error) {
	for end := time.Now().Add(handoverPatience); ; time.Sleep(20 * time.Millisecond) {
		l, err := dialLink(path)
		if l == nil || err != nil {
			return nil, nil, err
		}
		p, fds, err := l.take()
		if err == nil {
			return p, fds, nil
		}
		l.close()
		if refused := (*refusal)(nil); errors.As(err, &refused) {
			return nil, nil, fmt.Errorf("process %d does not hand over: %w", l.pid, err)
		}
		gone := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
		if !gone || time.Now().After(end) {
			return nil, nil, fmt.Errorf("process %d does not hand over (end it to begin anew): %w", l.pid, err)
		}
	}
}

// take asks for the estate.
func (l *link) take() (*predecessor, []int, error) {
	if err := l.send(messageTake, nil, nil); err != nil {
		return nil, nil, err
	}
	m, err := l.receive(messageEstate, handoverPatience)
	if err != nil {
		return nil, nil, err
	}
	s, err := parseEstate(m.body, len(m.fds))
	if err != nil {
		m.close()
		return nil, nil, err
	}
	return &predecessor{link: l, left: s}, m.fds, nil
}

// enterInto makes the table of an estate, with its sockets, which are the
// Engine's from here on: on an error none of those that the plane has not got is
// left.
func (e *Engine) enterInto(s *estate, fds []int) (err error) {
	rest := fds
	defer func() {
		if err != nil {
			closeAll(rest)
		}
	}()
	if err := e.checkSockets(s, fds); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	ws, ok := e.plane.(*workers)
	if !ok {
		return errors.ErrUnsupported
	}
	defer ws.disinherit()
	err = e.settle(s, func(one *estateService) {
		if one.Sockets > 0 {
			ws.inherited[one.Service.ID] = rest[:one.Sockets:one.Sockets]
			rest = rest[one.Sockets:]
		}
	})
	e.share(true)
	return err
}

// disinherit closes the sockets of services that could not be added.
func (ws *workers) disinherit() {
	for id, fds := range ws.inherited {
		closeAll(fds)
		delete(ws.inherited, id)
	}
}

// share tells the fronts whether another process needs their sockets too: then
// one that is closed here must go on listening there. Engine.mu is held.
func (e *Engine) share(on bool) {
	for _, s := range e.services {
		if f, ok := s.front.(*tcpFront); ok {
			f.shared.Store(on)
		}
	}
}

// checkSockets refuses descriptors that are not what the estate says, and those
// of another network namespace.
func (e *Engine) checkSockets(s *estate, fds []int) error {
	var namespace uint64
	err := netns.Do(e.cfg.NetNS, func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer unix.Close(fd)
		namespace = namespaceOf(fd)
		return nil
	})
	if err != nil {
		return err
	}
	for _, one := range s.Services {
		for _, fd := range fds[:one.Sockets] {
			if err := checkListening(fd, one.Service.ID); err != nil {
				return fmt.Errorf("a socket of %s: %w", one.Service.ID, err)
			}
			if namespaceOf(fd) != namespace {
				return fmt.Errorf("a socket of %s is in another network namespace: give both the same Config.NetNS", one.Service.ID)
			}
		}
		fds = fds[one.Sockets:]
	}
	return nil
}

// namespaceOf is a number of the socket's network namespace; zero where the
// kernel has none (before 5.14).
func namespaceOf(fd int) uint64 {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0
	}
	return cookie
}

// checkListening refuses a descriptor that is not a socket of the service, and
// makes sure of one that is that it does not block.
func checkListening(fd int, id ipvs.ServiceID) error {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	var at netip.AddrPort
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		at = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		at = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	tcp := typ == unix.SOCK_STREAM && listening == 1
	udp := typ == unix.SOCK_DGRAM && listening == 0
	if at != id.Addr || id.Protocol == ipvs.TCP && !tcp || id.Protocol == ipvs.UDP && !udp {
		return fmt.Errorf("it is another, of %s", at)
	}
	return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}
