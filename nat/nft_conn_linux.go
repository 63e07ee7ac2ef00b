package nat

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftSocket is a netlink socket of nf_tables in a network namespace. The kernel does what
// a message asks for before it takes the next one, so that answers are there as soon
// as it is sent.
type nftSocket struct {
	c   *netlink.Conn
	raw syscall.RawConn
	buf []byte
}

// receiveSize is what the kernel writes into one message of a dump at the most
// (net/netlink/af_netlink.c); an answer to a transaction has less.
const receiveSize = 64 << 10

// bufferSize is what the answers to a transaction and its messages may need; without
// CAP_NET_ADMIN in the initial user namespace the kernel gives less
// (net.core.rmem_max and wmem_max).
const bufferSize = 16 << 20

func dialNFT(ns namespace) (*nftSocket, error) {
	var c *netlink.Conn
	err := ns.do(func() (err error) {
		c, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	})
	if err != nil {
		return nil, explain(err, subject{})
	}
	raw, err := c.SyscallConn()
	if err == nil {
		// Errors have the header of the message that they are about, not all of it.
		err = c.SetOption(netlink.CapAcknowledge, true)
	}
	if err == nil {
		err = c.SetReadBuffer(bufferSize)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &nftSocket{c: c, raw: raw, buf: make([]byte, receiveSize)}, nil
}

func (s *nftSocket) close() error { return s.c.Close() }

func (s *nftSocket) send(b []byte) error {
	if have, err := s.c.WriteBuffer(); err == nil && have < len(b)+4096 {
		s.c.SetWriteBuffer(max(bufferSize, len(b)))
	}
	var errno error
	err := s.raw.Write(func(fd uintptr) bool {
		for {
			errno = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
			if errno != unix.EINTR {
				return true
			}
		}
	})
	if err != nil {
		return err
	}
	return errno
}

// receive calls each with the messages that are there, one read at a time; without wait
// it returns false if there are none.
func (s *nftSocket) receive(wait bool, each func(h netlink.Header, data attrs) error) (bool, error) {
	n, errno := 0, error(nil)
	err := s.raw.Read(func(fd uintptr) bool {
		for {
			n, _, errno = unix.Recvfrom(int(fd), s.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
			if errno != unix.EINTR {
				return errno != unix.EAGAIN || !wait
			}
		}
	})
	switch {
	case err != nil:
		return false, err
	case errno == unix.EAGAIN:
		return false, nil
	case errno != nil:
		return false, errno
	case n > len(s.buf):
		return false, unix.EMSGSIZE
	}
	b := s.buf[:n]
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return true, errNotOurs
		}
		h := netlink.Header{
			Type: netlink.HeaderType(binary.NativeEndian.Uint16(b[4:])), Flags: netlink.HeaderFlags(binary.NativeEndian.Uint16(b[6:])),
			Sequence: binary.NativeEndian.Uint32(b[8:]), PID: binary.NativeEndian.Uint32(b[12:]),
		}
		if err := each(h, attrs(b[unix.SizeofNlMsghdr:size])); err != nil {
			return true, err
		}
		b = b[min((size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
	return true, nil
}

// answerTime is how long the kernel may take for an answer that it owes.
const answerTime = 30 * time.Second

// request sends a message that does not change anything, and calls each with the answers.
// With whole, it fails if anybody has written to any table before the last of them.
func (s *nftSocket) request(ctx context.Context, w *nftWire, whole bool, each func(data attrs) error) error {
	s.c.SetReadDeadline(time.Now().Add(answerTime))
	if err := s.send(w.b); err != nil {
		return err
	}
	dump := binary.NativeEndian.Uint16(w.b[6:])&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	var failed error // what each says; the rest is read all the same
	for done := false; !done; {
		_, err := s.receive(true, func(h netlink.Header, data attrs) error {
			if h.Sequence != w.seq {
				return nil // an answer that came too late for somebody before
			}
			if whole && h.Flags&unix.NLM_F_DUMP_INTR != 0 {
				failed = errChanged
			}
			switch {
			case h.Type == netlink.Error || h.Type == netlink.Done:
				done = true
				if errno := readErrno(data); errno != 0 {
					failed = errno
				}
			case len(data) < nfgenSize:
				failed = errNotOurs
			default:
				done = !dump
				if failed == nil {
					failed = each(data[nfgenSize:])
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("nf_tables: %w", err)
		}
		if failed == nil {
			failed = ctx.Err()
		}
	}
	return failed
}

// readErrno is the error in a message of an error, an acknowledgement or the end of a
// dump: 0 for none.
func readErrno(b []byte) syscall.Errno {
	if len(b) < 4 {
		return 0
	}
	return syscall.Errno(-int32(binary.NativeEndian.Uint32(b)))
}
