package userspace

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ports of the real servers of the benchmarks, on each of their addresses.
const (
	echoPort   = 7001 // TCP and UDP: what comes goes back
	sourcePort = 7002 // TCP: sends for ever
)

func init() { children["servers"] = serversMain }

// serversMain is all real servers: one thread, so that a benchmark knows what
// it costs.
func serversMain() {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	if err := (&servers{}).run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// servers are listening sockets and the connections that they took.
type servers struct {
	epoll  int
	kinds  []serverKind // by descriptor
	echo   int
	source int
	buf    []byte
	batch  *datagrams
}

type serverKind uint8

const (
	kindEcho serverKind = iota + 1
	kindSource
	kindDatagrams
)

// addrsEnv are the addresses of the real servers, separated by spaces.
const addrsEnv = "LVSKIT_USERSPACE_ADDRS"

func (s *servers) run() error {
	var err error
	s.buf = make([]byte, 256<<10)
	s.kinds = make([]serverKind, 1<<16)
	s.batch = newDatagrams(64, 2048)
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if s.echo, err = s.listen(unix.SOCK_STREAM, anywhere(echoPort)); err != nil {
		return err
	}
	if s.source, err = s.listen(unix.SOCK_STREAM, anywhere(sourcePort)); err != nil {
		return err
	}
	for _, addr := range strings.Fields(os.Getenv(addrsEnv)) { // an answer comes from where its question went
		fd, err := s.listen(unix.SOCK_DGRAM, netip.AddrPortFrom(netip.MustParseAddr(addr), echoPort))
		if err != nil {
			return err
		}
		s.kinds[fd] = kindDatagrams
	}
	fmt.Println("ready")
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, ev := range events[:max(n, 0)] {
			s.ready(int(ev.Fd))
		}
	}
}

func (s *servers) listen(typ int, at netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
		return 0, err
	}
	if typ == unix.SOCK_STREAM {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // and so of what is accepted
		err = unix.Listen(fd, 4096)
	} else {
		roomy(fd)
	}
	if err != nil {
		return 0, err
	}
	return fd, s.watch(fd, unix.EPOLLIN)
}

func anywhere(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv4Unspecified(), port) }

// roomy gives a socket of datagrams buffers that hold all that is under way.
func roomy(fd int) {
	for _, option := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE, unix.SO_RCVBUF, unix.SO_SNDBUF} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 4<<20)
	}
}

func (s *servers) watch(fd int, events uint32) error {
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (s *servers) ready(fd int) {
	switch {
	case fd == s.echo:
		s.accept(fd, kindEcho, unix.EPOLLIN)
	case fd == s.source:
		s.accept(fd, kindSource, unix.EPOLLIN|unix.EPOLLOUT)
	case s.kinds[fd] == kindDatagrams:
		if n := s.batch.read(fd); n > 0 {
			s.batch.write(fd, n)
		}
	case s.kinds[fd] == kindEcho:
		n, err := tryRead(fd, s.buf[:64<<10])
		if err == unix.EAGAIN {
			return
		}
		if n <= 0 {
			unix.Close(fd)
			return
		}
		_, _ = tryWrite(fd, s.buf[:n])
	case s.kinds[fd] == kindSource:
		if _, err := tryWrite(fd, s.buf); err != nil && err != unix.EAGAIN {
			unix.Close(fd)
		}
	}
}

func (s *servers) accept(listener int, kind serverKind, events uint32) {
	for {
		fd, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if e != 0 {
			return
		}
		s.kinds[fd] = kind
		_ = s.watch(int(fd), events)
	}
}

// tryRead and tryWrite do not tell Go's scheduler: they never wait.
func tryRead(fd int, b []byte) (int, error) { return try(unix.SYS_READ, fd, b) }

func tryWrite(fd int, b []byte) (int, error) { return try(unix.SYS_WRITE, fd, b) }

func try(call uintptr, fd int, b []byte) (int, error) {
	n, _, e := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

// datagrams are messages of recvmmsg and sendmmsg with their senders.
type datagrams struct {
	msgs  []message
	iovs  []unix.Iovec
	names []unix.RawSockaddrInet6
	bufs  []byte
	size  int
}

// message is struct mmsghdr.
type message struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

func newDatagrams(n, size int) *datagrams {
	d := &datagrams{
		msgs: make([]message, n), iovs: make([]unix.Iovec, n), names: make([]unix.RawSockaddrInet6, n),
		bufs: make([]byte, n*size), size: size,
	}
	for i := range d.msgs {
		d.iovs[i].Base = &d.bufs[i*size]
		d.msgs[i].hdr.Iov = &d.iovs[i]
		d.msgs[i].hdr.SetIovlen(1)
		d.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&d.names[i]))
	}
	return d
}

// read takes what is there, without waiting.
func (d *datagrams) read(fd int) int {
	for i := range d.msgs {
		d.iovs[i].SetLen(d.size)
		d.msgs[i].hdr.Namelen = uint32(unsafe.Sizeof(d.names[0]))
	}
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&d.msgs[0])), uintptr(len(d.msgs)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// write sends the first n back to where they came from.
func (d *datagrams) write(fd, n int) {
	for i := range n {
		d.iovs[i].SetLen(int(d.msgs[i].n))
	}
	unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&d.msgs[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
}
