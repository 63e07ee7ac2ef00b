package health

import (
	"errors"

	"golang.org/x/sys/unix"
)

// late looks once more for a datagram, or an error that the network has reported,
// when the deadline has come: it is there if this process was stopped, or had no
// processor. If there is nothing, err stays.
func late(c conn, buf []byte, err error) (int, error) {
	s, ok := c.(*socket)
	if !ok {
		return 0, err
	}
	n := 0
	// err is of the socket, or nil if there was a datagram.
	if failed := s.control(func(fd int) error {
		var again error
		n, _, again = unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if errors.Is(again, unix.EAGAIN) || errors.Is(again, unix.EINTR) {
			return err
		}
		return again
	}); failed != nil {
		return 0, failed
	}
	return n, nil
}
