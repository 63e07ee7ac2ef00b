package health

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// ownErrnos are the errnos that tell nothing of the server. EACCES is not among
// them: it is also how a firewall on the way answers over IPv6 (ICMPv6 type 1 code 1).
var ownErrnos = []unix.Errno{
	unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN, unix.EADDRNOTAVAIL, unix.EADDRINUSE,
	unix.EPERM, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.EINVAL, unix.EBADF, unix.ENODEV, unix.ENOSYS,
}

// preparing are the system calls before anything is sent. Their errors are our own,
// whatever they are.
var preparing = []string{"socket", "bind", "setsockopt", "fcntl"}

func ownErrno(err error) bool {
	var call *os.SyscallError
	if errors.As(err, &call) && slices.Contains(preparing, call.Syscall) {
		return true
	}
	var errno unix.Errno
	return errors.As(err, &errno) && slices.Contains(ownErrnos, errno)
}

// refused tells whether the server itself has said no: that is true however late it
// was heard.
func refused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

func isErrno(err error) bool {
	var errno unix.Errno
	return errors.As(err, &errno)
}
