package vrrp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ifaProto is IFA_PROTO of uapi linux/if_addr.h: who made the address.
const ifaProto = 11

// programs that mark the virtual addresses they make: keepalived (RTPROT_KEEPALIVED),
// and this library (vip.DefaultMark and the one beside it).
const (
	markKeepalived = 18
	markOurs       = 86
	markOurs2      = 87
)

// notices is a socket on which the kernel tells changes of links and addresses.
type notices struct {
	sock   *nl.NetlinkSocket
	closed atomic.Bool
}

// listen opens it in the thread's namespace.
func listen() (*notices, error) {
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	_ = sock.SetReceiveBufferSize(receiveBuffer, false)
	return &notices{sock: sock}, nil
}

// read calls changed for every notice, and when notices were lost, until close;
// before that removed, for an interface that is no more.
func (n *notices) read(removed func(index int), changed func()) {
	for {
		msgs, from, err := n.sock.Receive()
		switch {
		case n.closed.Load():
			return
		case err == nil && from.Pid != nl.PidKernel:
			continue
		case err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN):
			return // resync finds out what changes
		}
		for _, msg := range msgs {
			// of AF_BRIDGE it tells that a bridge has lost a port
			if msg.Header.Type == unix.RTM_DELLINK && len(msg.Data) >= unix.SizeofIfInfomsg && msg.Data[0] == unix.AF_UNSPEC {
				removed(int(nl.DeserializeIfInfomsg(msg.Data).Index))
			}
		}
		changed()
	}
}

func (n *notices) close() {
	if !n.closed.Swap(true) {
		n.sock.Close()
	}
}

// routes is a socket to ask the kernel for links and addresses.
type routes struct {
	socks map[int]*nl.SocketHandle
}

func openRoutes() (*routes, error) {
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// the kernel then dumps the addresses of one interface alone (Linux 4.20)
	_ = unix.SetsockoptInt(sock.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &routes{socks: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: sock}}}, nil
}

func (r *routes) close() { r.socks[unix.NETLINK_ROUTE].Close() }

// link reads an interface. That there is none is no error.
func (r *routes) link(name string) (link, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.Sockets = r.socks
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, 0)
	switch {
	case errors.Is(err, unix.ENODEV):
		return link{}, nil
	case err != nil:
		return link{}, fmt.Errorf("read link %s: %w", name, err)
	case len(msgs) == 0 || len(msgs[0]) < unix.SizeofIfInfomsg:
		return link{}, fmt.Errorf("read link %s: %w", name, errShort)
	}
	head := nl.DeserializeIfInfomsg(msgs[0])
	l := link{exists: true, index: int(head.Index)}
	l.up = head.Flags&unix.IFF_UP != 0
	l.carrier = head.Flags&unix.IFF_RUNNING != 0 // the operational state, too
	l.addrs, err = r.addrs(l.index)
	return l, err
}

// addrs reads the addresses of an interface.
func (r *routes) addrs(index int) ([]linkAddr, error) {
	var msgs [][]byte
	err := error(nl.ErrDumpInterrupted)
	for n := 0; n < 20 && errors.Is(err, nl.ErrDumpInterrupted); n++ {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		req.Sockets = r.socks
		head := nl.NewIfAddrmsg(unix.AF_UNSPEC)
		head.Index = uint32(index)
		req.AddData(head)
		msgs, err = req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	}
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	var list []linkAddr
	for _, msg := range msgs {
		if a, of, err := parseAddr(msg); err == nil && of == index {
			list = append(list, a)
		}
	}
	return list, nil
}

var errShort = errors.New("netlink message cut short")

// parseAddr reads an RTM_NEWADDR message.
func parseAddr(msg []byte) (a linkAddr, index int, err error) {
	if len(msg) < unix.SizeofIfAddrmsg {
		return a, 0, errShort
	}
	head := nl.DeserializeIfAddrmsg(msg)
	attrs, err := nl.ParseRouteAttr(msg[unix.SizeofIfAddrmsg:])
	if err != nil {
		return a, 0, err
	}
	flags := uint32(head.Flags)
	var local bool
	for _, attr := range attrs {
		v := attr.Value
		switch addr, _ := netip.AddrFromSlice(v); attr.Attr.Type {
		case syscall.IFA_LOCAL:
			a.addr, local = addr, true
		case syscall.IFA_ADDRESS:
			if !local {
				a.addr = addr // with IFA_LOCAL it is the peer's
			}
		case unix.IFA_FLAGS:
			if len(v) >= 4 {
				flags = binary.NativeEndian.Uint32(v)
			}
		case ifaProto:
			a.virtual = len(v) > 0 && (v[0] == markKeepalived || v[0] == markOurs || v[0] == markOurs2)
		}
	}
	if !a.addr.IsValid() {
		return a, 0, errShort
	}
	six := head.Family == unix.AF_INET6
	a.bits = int(head.Prefixlen)
	a.global = head.Scope == unix.RT_SCOPE_UNIVERSE
	a.secondary = !six && flags&unix.IFA_F_SECONDARY != 0
	a.tentative = flags&unix.IFA_F_DADFAILED != 0 || flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	a.temporary = six && flags&(unix.IFA_F_TEMPORARY|unix.IFA_F_DEPRECATED) != 0
	return a, int(head.Index), nil
}
