package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
)

// notices is a socket on which the kernel tells changes of addresses and links.
type notices struct {
	sock   *nl.NetlinkSocket
	closed atomic.Bool
}

// listen opens the socket in a network namespace, with room for unread notices.
func listen(path string, room int) (*notices, error) {
	var n notices
	err := netns.Do(path, func() (err error) {
		n.sock, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := n.sock.SetReceiveBufferSize(room, false); err != nil {
		n.close()
		return nil, fmt.Errorf("make room for notices: %w", err)
	}
	return &n, nil
}

// read calls changed for notices that may matter, and overrun when the kernel
// had more than there was room for, until the socket is closed.
//
// After an overrun the kernel drops in silence until the queue has been empty
// once (net/netlink/af_netlink.c, NETLINK_S_CONGESTED). What is read until then
// all counts as a change, the empty queue too.
func (n *notices) read(concerns func(netip.Addr) bool, overrun, changed func()) error {
	draining := false
	for {
		msgs, from, err := n.sock.Receive()
		switch {
		case n.closed.Load():
			return nil
		case errors.Is(err, unix.ENOBUFS):
			draining = true
			overrun()
			err = n.sock.SetReceiveTimeout(&unix.Timeval{Usec: 1000})
		case draining && errors.Is(err, unix.EAGAIN):
			draining = false
			changed()
			err = n.sock.SetReceiveTimeout(&unix.Timeval{})
		case err == nil && from.Pid == nl.PidKernel && (draining || matter(msgs, concerns)):
			changed()
		}
		if err != nil {
			return err
		}
	}
}

// matter tells whether one of the notices is about a link or one of our IPs.
func matter(msgs []syscall.NetlinkMessage, concerns func(netip.Addr) bool) bool {
	return slices.ContainsFunc(msgs, func(msg syscall.NetlinkMessage) bool {
		switch msg.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			return true
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			p, err := parseAddress(msg.Data)
			return err != nil || concerns(p.Addr)
		}
		return false
	})
}

func (n *notices) close() {
	n.closed.Store(true)
	n.sock.Close()
}
