//go:build !linux

package health

import (
	"errors"
	"os"
	"slices"
	"syscall"
)

var ownErrnos = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN, syscall.EADDRNOTAVAIL,
	syscall.EADDRINUSE, syscall.EPERM, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.EINVAL,
	10024, 10048, 10049, 10055, // WSAEMFILE, WSAEADDRINUSE, WSAEADDRNOTAVAIL, WSAENOBUFS
}

var preparing = []string{"socket", "bind", "setsockopt", "fcntl"}

func ownErrno(err error) bool {
	var call *os.SyscallError
	if errors.As(err, &call) && slices.Contains(preparing, call.Syscall) {
		return true
	}
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains(ownErrnos, errno)
}

func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.Errno(10061)) // WSAECONNREFUSED
}

func isErrno(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}
