package userspace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// handoverPatience bounds the time that the other side may take for what it has
// to do at once.
const handoverPatience = 10 * time.Second

// link is one end of a handover.
type link struct {
	conn *net.UnixConn
	pid  int // of the other process
}

// newLink takes a connection if the process at its other end may be trusted
// with sockets: one of the same user, or of root. Otherwise it closes it.
func newLink(conn *net.UnixConn) (*link, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	var peer *unix.Ucred
	var errno error
	if err = raw.Control(func(fd uintptr) { peer, errno = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err == nil {
		err = os.NewSyscallError("getsockopt", errno)
	}
	if err == nil && peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		err = fmt.Errorf("process %d is of user %d: %w", peer.Pid, peer.Uid, fs.ErrPermission)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &link{conn: conn, pid: int(peer.Pid)}, nil
}

func (l *link) close() { l.conn.Close() }

// send sends one message. The descriptors stay the caller's.
func (l *link) send(kind messageKind, body []byte, fds []int) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(handoverPatience)); err != nil {
		return err
	}
	h := head{kind: kind, size: len(body), descriptors: len(fds)}
	if h.size > messageMost || h.descriptors > descriptorsMost {
		return fmt.Errorf("a message of %d bytes and %d descriptors is too large", h.size, h.descriptors)
	}
	err := l.write(h.append(nil), nil)
	for len(body) > 0 && err == nil {
		n := min(len(body), packetMost)
		err = l.write(body[:n], nil)
		body = body[n:]
	}
	for len(fds) > 0 && err == nil {
		n := min(len(fds), rightsMost)
		err = l.write([]byte{0}, unix.UnixRights(fds[:n]...))
		fds = fds[n:]
	}
	return err
}

// write sends one packet.
func (l *link) write(b, oob []byte) error {
	_, _, err := l.conn.WriteMsgUnix(b, oob, nil)
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err // the names of the sockets tell nothing
	}
	return err
}

// parcel is what has been received. It owns its descriptors.
type parcel struct {
	kind messageKind
	body []byte
	fds  []int
}

func (m *parcel) close() { closeAll(m.fds) }

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// receive receives one message of this kind, within patience; zero waits for
// ever. A refusal is an error with its text, io.EOF that the other side closed
// where a message may begin.
func (l *link) receive(kind messageKind, patience time.Duration) (m *parcel, err error) {
	m = new(parcel)
	defer func() {
		if err != nil {
			m.close()
			m = nil
		}
	}()
	var deadline time.Time
	if patience > 0 {
		deadline = time.Now().Add(patience)
	}
	if err := l.conn.SetReadDeadline(deadline); err != nil {
		return m, err
	}
	buf := make([]byte, packetMost)
	n, err := l.packet(m, buf)
	if err != nil {
		return m, err
	}
	h, err := parseHead(buf[:n])
	if err == nil && len(m.fds) > 0 {
		err = errors.New("descriptors that nobody announced")
	}
	if err != nil {
		return m, err
	}
	if err := l.conn.SetReadDeadline(time.Now().Add(handoverPatience)); err != nil {
		return m, err
	}
	if err := l.contents(m, h, buf); err != nil {
		return m, err
	}
	switch m.kind = h.kind; m.kind {
	case kind:
		return m, nil
	case messageRefusal:
		return m, &refusal{pid: l.pid, text: string(m.body)}
	}
	return m, fmt.Errorf("a message of kind %d, not %d", m.kind, kind)
}

// contents receives what a head announces.
func (l *link) contents(m *parcel, h head, buf []byte) error {
	for len(m.body) < h.size || len(m.fds) < h.descriptors {
		before := len(m.fds)
		n, err := l.packet(m, buf)
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		came := len(m.fds) - before
		switch {
		case len(m.body) < h.size && came == 0:
			m.body = append(m.body, buf[:n]...)
		case len(m.body) == h.size && came > 0:
		default:
			return fmt.Errorf("a packet of %d bytes and %d descriptors out of place", n, came)
		}
	}
	if len(m.body) > h.size || len(m.fds) > h.descriptors {
		return errors.New("more than was announced")
	}
	return nil
}

// packet receives one packet, and keeps its descriptors in any case.
func (l *link) packet(m *parcel, buf []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*rightsMost))
	n, oobn, flags, _, err := l.conn.ReadMsgUnix(buf, oob)
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // the names of the sockets tell nothing
	}
	if err != nil {
		return 0, err
	}
	controls, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return 0, fmt.Errorf("an unreadable control message: %w", err)
	}
	for _, c := range controls {
		if c.Header.Level != unix.SOL_SOCKET || c.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&c)
		m.fds = append(m.fds, fds...)
		if err != nil {
			return 0, fmt.Errorf("an unreadable control message: %w", err)
		}
	}
	switch {
	case flags&unix.MSG_CTRUNC != 0:
		return 0, errors.New("not all sockets arrived: the process has no descriptor left: raise its limit (RLIMIT_NOFILE)")
	case flags&unix.MSG_TRUNC != 0:
		return 0, errors.New("a packet that is too large")
	}
	return n, nil
}

// refusal is the predecessor's answer that it hands nothing over.
type refusal struct {
	pid  int
	text string
}

func (r *refusal) Error() string { return r.text }

// handoverSocket is where successors come to.
type handoverSocket struct {
	*net.UnixListener
	path string
	lock *os.File // of the directory, until the socket has its name
	ino  uint64
}

// newHandoverSocket makes the socket under another name; publish gives it its
// name. In between the directory is locked against others of our kind.
func newHandoverSocket(path string) (*handoverSocket, error) {
	lock, err := lockDirectory(path)
	if err != nil {
		return nil, err
	}
	s := &handoverSocket{path: path, lock: lock}
	if err := s.listen(); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *handoverSocket) listen() error {
	name := s.path + handoverSuffix
	if err := removeSocket(name); err != nil {
		return err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: name, Net: "unixpacket"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	var st unix.Stat_t
	if err = os.Chmod(name, 0o600); err == nil {
		err = unix.Lstat(name, &st)
	}
	if err != nil {
		os.Remove(name)
		l.Close()
		return err
	}
	s.UnixListener, s.ino = l, st.Ino
	return nil
}

// publish gives the socket its name, in place of one on which nobody listens or,
// if it succeeds that, its predecessor does.
func (s *handoverSocket) publish(succeeds bool) error {
	defer s.lock.Close()
	err := isSocket(s.path)
	if err == nil && !succeeds {
		var l *link
		if l, err = dialLink(s.path); l != nil {
			err = fmt.Errorf("process %d has come in between and listens there: %w", l.pid, fs.ErrExist)
			l.close()
		}
	}
	if err == nil {
		err = os.Rename(s.path+handoverSuffix, s.path)
	}
	if err != nil {
		os.Remove(s.path + handoverSuffix)
	}
	return err
}

// abandon removes a socket that has not been published.
func (s *handoverSocket) abandon() {
	os.Remove(s.path + handoverSuffix)
	s.lock.Close()
}

// remove closes the socket, and removes its name unless that is a successor's
// by now.
func (s *handoverSocket) remove() {
	if s.Close() != nil {
		return // it has been removed
	}
	lock, err := lockDirectory(s.path)
	if err != nil {
		return
	}
	defer lock.Close()
	var st unix.Stat_t
	if unix.Lstat(s.path, &st) == nil && st.Ino == s.ino {
		os.Remove(s.path)
	}
}

// isSocket refuses a file that is there and no socket.
func isSocket(name string) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is no socket, and is not replaced: %w", name, fs.ErrExist)
	}
	return err
}

// removeSocket removes a socket that a killed process has left.
func removeSocket(name string) error {
	err := isSocket(name)
	if err == nil {
		err = os.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dialLink reaches the process that listens at a path: nil if there is none.
func dialLink(path string) (*link, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return newLink(conn)
}

// lockDirectory locks the directory of a path against others of our kind, until
// the file is closed.
func lockDirectory(path string) (*os.File, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(handoverPatience); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			dir.Close()
			return nil, fmt.Errorf("lock directory %s: %w", dir.Name(), err)
		}
	}
}
