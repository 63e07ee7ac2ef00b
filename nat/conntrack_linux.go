package nat

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// flowsBatch is how many flows are deleted by one system call, so that the
	// answers fit into the socket's default buffer.
	flowsBatch = 64
	flowsSize  = 32 << 10 // the most that the kernel writes into one message of a dump

	// Of include/uapi/linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h.
	ctaFilter          = 25
	ctaFilterOrigFlags = 1
	ipsSrcNAT          = 1 << 4
	ipsDstNAT          = 1 << 5
	// filterProtocol has the kernel compare the protocol alone
	// (CTA_FILTER_FLAG(CTA_PROTO_NUM), net/netfilter/nf_conntrack_netlink.c).
	filterProtocol = 1 << 3
)

// forget deletes the stale flows from conntrack and tells how many they were. It reads
// flow by flow, so that it takes no more memory for many.
func (ns namespace) forget(ctx context.Context, s *stale) (n int, err error) {
	if ns.tracksNothing() {
		return 0, nil
	}
	w, err := ns.conntrack(ctx)
	if err != nil {
		return 0, err
	}
	defer w.close()
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if family == unix.AF_INET && s.v4 || family == unix.AF_INET6 && s.v6 {
			err = errors.Join(err, w.forget(family, s))
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return w.deleted, err
}

// tracksNothing tells that there are no flows in this namespace: to find none, the
// kernel would look through those of all namespaces.
func (ns namespace) tracksNothing() bool {
	var count []byte
	err := ns.do(func() (err error) {
		count, err = os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		return err
	})
	return err == nil && strings.TrimSpace(string(count)) == "0"
}

// conntracker has two sockets, so that flows are deleted while others are read.
type conntracker struct {
	dump, del *netlink.Conn
	stop      func() bool
	batch     []netlink.Message
	deleted   int
	failed    int
	failure   error // the last one
}

func (ns namespace) conntrack(ctx context.Context) (*conntracker, error) {
	cfg := &netlink.Config{MessageBufferSize: flowsSize}
	var dump, del *netlink.Conn
	err := ns.do(func() (err error) {
		if dump, err = netlink.Dial(unix.NETLINK_NETFILTER, cfg); err != nil {
			return err
		}
		if del, err = netlink.Dial(unix.NETLINK_NETFILTER, cfg); err != nil {
			dump.Close()
		}
		return err
	})
	if err != nil {
		return nil, conntrackError(err)
	}
	w := &conntracker{dump: dump, del: del}
	w.stop = context.AfterFunc(ctx, func() {
		dump.SetDeadline(time.Unix(1, 0))
		del.SetDeadline(time.Unix(1, 0))
	})
	return w, nil
}

func (w *conntracker) close() {
	w.stop()
	w.dump.Close()
	w.del.Close()
}

// forget deletes the stale flows of a family.
func (w *conntracker) forget(family uint8, s *stale) error {
	w.failed, w.failure = 0, nil
	filter := protocolFilter(s.protocol)
	err := w.read(family, filter, s)
	if filter != nil && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)) { // before Linux 5.8
		err = w.read(family, nil, s)
	}
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return conntrackError(err)
	}
	if w.failed > 0 {
		return fmt.Errorf("%d flows can not be removed: %w", w.failed, w.failure)
	}
	return nil
}

// protocolFilter has the kernel leave out all other protocols. An old one ignores it.
func protocolFilter(p Protocol) []netlink.Attribute {
	if p == 0 {
		return nil
	}
	protocol, _ := netlink.MarshalAttributes([]netlink.Attribute{{Type: nl.CTA_PROTO_NUM, Data: []byte{byte(p)}}})
	tuple, _ := netlink.MarshalAttributes([]netlink.Attribute{{Type: nl.CTA_TUPLE_PROTO | unix.NLA_F_NESTED, Data: protocol}})
	flags, _ := netlink.MarshalAttributes([]netlink.Attribute{{
		Type: ctaFilterOrigFlags, Data: binary.NativeEndian.AppendUint32(nil, filterProtocol),
	}})
	return []netlink.Attribute{{Type: nl.CTA_TUPLE_ORIG | unix.NLA_F_NESTED, Data: tuple}, {Type: ctaFilter | unix.NLA_F_NESTED, Data: flags}}
}

func conntrackMessage(command, flags int, family uint8, attrs []netlink.Attribute) (netlink.Message, error) {
	b, err := netlink.MarshalAttributes(attrs)
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK<<8 | command), Flags: netlink.Request | netlink.HeaderFlags(flags)},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, b...),
	}, err
}

// read reads the flows of a family and deletes the stale ones meanwhile.
func (w *conntracker) read(family uint8, filter []netlink.Attribute, s *stale) error {
	m, err := conntrackMessage(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, family, filter)
	if err != nil {
		return err
	}
	if _, err := w.dump.Send(m); err != nil {
		return err
	}
	for m, err := range w.dump.ReceiveIter() {
		if err != nil {
			return err
		}
		f, key, ok := decodeFlow(m.Data)
		if !ok || !s.is(&f) {
			continue
		}
		m, err := conntrackMessage(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK, family, key)
		if err != nil {
			return err
		}
		if w.batch = append(w.batch, m); len(w.batch) == flowsBatch {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush deletes the flows that are gathered. One that has ended by itself is no error.
func (w *conntracker) flush() error {
	batch := w.batch
	w.batch = w.batch[:0]
	if len(batch) == 0 {
		return nil
	}
	if _, err := w.del.SendMessages(batch); err != nil {
		return err
	}
	for range batch {
		_, err := w.del.Receive()
		var refused *netlink.OpError
		switch {
		case err == nil:
			w.deleted++
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, unix.ENOBUFS) || !errors.As(err, &refused) || refused.Timeout():
			return err
		default:
			w.failed, w.failure = w.failed+1, err
		}
	}
	return nil
}

// decodeFlow reads a flow, and the attributes by which it is deleted.
func decodeFlow(b []byte) (f flow, key []netlink.Attribute, ok bool) {
	if len(b) < 4 {
		return f, nil, false
	}
	seen := 0
	err := eachCTA(b[4:], func(typ uint16, b []byte) (err error) {
		switch typ {
		case nl.CTA_TUPLE_ORIG:
			f.src, f.dst, f.protocol, err = decodeTuple(b)
			key = append(key, netlink.Attribute{Type: nl.CTA_TUPLE_ORIG | unix.NLA_F_NESTED, Data: b})
			seen++
		case nl.CTA_TUPLE_REPLY:
			f.to, f.from, _, err = decodeTuple(b)
			seen++
		case nl.CTA_STATUS:
			if len(b) == 4 {
				status := binary.BigEndian.Uint32(b)
				f.snat, f.dnat = status&ipsSrcNAT != 0, status&ipsDstNAT != 0
			}
		case nl.CTA_ID, nl.CTA_ZONE:
			key = append(key, netlink.Attribute{Type: typ, Data: b})
		}
		return err
	})
	return f, key, err == nil && seen == 2
}

func decodeTuple(b []byte) (src, dst netip.AddrPort, p Protocol, err error) {
	var from, to netip.Addr
	var ports [2]uint16
	err = eachCTA(b, func(typ uint16, b []byte) error {
		switch typ {
		case nl.CTA_TUPLE_IP:
			return eachCTA(b, func(typ uint16, b []byte) error {
				switch a, _ := netip.AddrFromSlice(b); typ {
				case nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC:
					from = a
				case nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST:
					to = a
				}
				return nil
			})
		case nl.CTA_TUPLE_PROTO:
			return eachCTA(b, func(typ uint16, b []byte) error {
				switch {
				case typ == nl.CTA_PROTO_NUM && len(b) == 1:
					p = Protocol(b[0])
				case typ == nl.CTA_PROTO_SRC_PORT && len(b) == 2:
					ports[0] = binary.BigEndian.Uint16(b)
				case typ == nl.CTA_PROTO_DST_PORT && len(b) == 2:
					ports[1] = binary.BigEndian.Uint16(b)
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && (!from.IsValid() || !to.IsValid()) {
		err = errBroken
	}
	return netip.AddrPortFrom(from, ports[0]), netip.AddrPortFrom(to, ports[1]), p, err
}

// errBroken is what the kernel never says.
var errBroken = errors.New("an answer of conntrack that can not be read")

// eachCTA calls f for each attribute, without copying.
func eachCTA(b []byte, f func(typ uint16, b []byte) error) error {
	for len(b) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			return errBroken
		}
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := f(typ, b[unix.SizeofNlAttr:size]); err != nil {
			return err
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

// conntrackError has words for what the kernel answers where it lacks the means.
func conntrackError(err error) error {
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("this kernel does not let conntrack be read (modprobe nf_conntrack_netlink): "+
			"clients of UDP that keep their socket stay with the old rules until they pause: %w", errors.ErrUnsupported)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("reading conntrack takes CAP_NET_ADMIN: %w", err)
	}
	return fmt.Errorf("conntrack: %w", err)
}
