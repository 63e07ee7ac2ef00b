package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// batch sends requests in one message to the kernel and returns an error or nil
// for each. The kernel answers those that fail, and the last one, so that a batch
// is two system calls.
func (k *kernel) batch(reqs []*nl.NetlinkRequest) []error {
	errs := make([]error, len(reqs))
	if len(reqs) == 0 {
		return errs
	}
	h := k.socks[unix.NETLINK_ROUTE]
	var buf []byte
	last := uint32(len(reqs) - 1)
	for i, req := range reqs {
		req.Seq = atomic.AddUint32(&h.Seq, 1)
		if i == int(last) {
			req.Flags |= unix.NLM_F_ACK
		}
		buf = append(buf, req.Serialize()...)
		buf = append(buf, make([]byte, -len(buf)&(unix.NLMSG_ALIGNTO-1))...)
	}
	first := reqs[0].Seq
	err := unix.Sendto(h.Socket.GetFd(), buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for err == nil {
		var msgs []syscall.NetlinkMessage
		var from *unix.SockaddrNetlink
		if msgs, from, err = h.Socket.Receive(); err != nil || from.Pid != nl.PidKernel {
			continue
		}
		for _, m := range msgs {
			i := m.Header.Seq - first
			if m.Header.Type != unix.NLMSG_ERROR || i > last {
				continue // to an earlier request
			}
			errs[i] = answer(m)
			if i == last {
				return errs
			}
		}
	}
	for i := range errs {
		errs[i] = errors.Join(errs[i], fmt.Errorf("ask the kernel: %w", err))
	}
	return errs
}

// answer is the error of an NLMSG_ERROR, with the kernel's own words if it has
// some.
func answer(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return errShort
	}
	errno := syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
	if errno == 0 {
		return nil
	}
	var err error = errno
	rest := m.Data[4:]
	if m.Header.Flags&unix.NLM_F_ACK_TLVS == 0 || len(rest) < unix.SizeofNlMsghdr {
		return err
	}
	request := (int(binary.NativeEndian.Uint32(rest)) + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
	_ = attributes(rest[min(request, len(rest)):], func(kind uint16, v []byte) error {
		if kind == nl.NLMSGERR_ATTR_MSG {
			err = fmt.Errorf("%w: %s", errno, unix.ByteSliceToString(v))
		}
		return nil
	})
	return err
}
