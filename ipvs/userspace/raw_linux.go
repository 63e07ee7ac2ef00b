package userspace

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls here never wait: their descriptors do not block. Go's scheduler is
// therefore not told of them, which costs as much as a small call itself.

func rawRead(fd int, p []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// rawSend writes to a socket. Whether its peer is there or not, no signal comes.
func rawSend(fd int, p []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// rawSplice moves up to n bytes from one descriptor to another, one of which is
// a pipe.
func rawSplice(from, to, n int) (int, unix.Errno) {
	for {
		moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if errno != unix.EINTR {
			return int(moved), errno
		}
	}
}

func rawClose(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func rawShutdown(fd, how int) { unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), uintptr(how), 0) }

// rawAccept takes a connection; *size is in and out.
func rawAccept(fd int, sa *unix.RawSockaddrInet6, size *uint32) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(sa)), uintptr(unsafe.Pointer(size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), errno
}

// rawPending takes the error of a socket.
func rawPending(fd int) unix.Errno {
	var value int32
	size := uint32(unsafe.Sizeof(value))
	if _, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR, uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		return errno
	}
	return unix.Errno(value)
}

// rawUnsent is how many bytes a TCP socket was given that its peer has not taken.
func rawUnsent(fd int) int {
	var n int32
	unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	return int(n)
}

// rawAbort makes the next close of a TCP socket a reset.
func rawAbort(fd int) {
	linger := unix.Linger{Onoff: 1}
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&linger)), unsafe.Sizeof(linger), 0)
}

func rawEpollCtl(epoll, op, fd int, events uint32) unix.Errno {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return errno
}

// rawEpollWait waits for events, for some milliseconds at most: Go's scheduler
// takes the thread for busy.
func rawEpollWait(epoll int, events []unix.EpollEvent, timeout int) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(timeout), 0, 0)
	return int(n), errno
}

// rawLocal is a socket's own address.
func rawLocal(fd int) netip.AddrPort {
	var sa unix.RawSockaddrInet6
	size := uint32(unsafe.Sizeof(sa))
	unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	return sockaddr(&sa)
}
