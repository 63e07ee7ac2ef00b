package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

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
func (n *notices) read(concerns func(netip.Addr) bool, overrun, changed func()) error {
	for {
		msgs, from, err := n.sock.Receive()
		switch {
		case n.closed.Load():
			return nil
		case errors.Is(err, unix.ENOBUFS):
			overrun()
			continue
		case err != nil:
			return err
		case from.Pid != nl.PidKernel:
			continue
		}
		for _, msg := range msgs {
			switch msg.Header.Type {
			case unix.RTM_NEWLINK, unix.RTM_DELLINK:
				changed()
			case unix.RTM_NEWADDR, unix.RTM_DELADDR:
				if p, err := parseAddress(msg.Data); err != nil || concerns(p.Addr) {
					changed()
				}
			}
		}
	}
}

func (n *notices) close() {
	n.closed.Store(true)
	n.sock.Close()
}
