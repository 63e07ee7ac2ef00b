package nat

import (
	"context"
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// watchSize is the room for news that nobody has looked at yet. What does not fit is
// told of all the same.
const watchSize = 1 << 20

// watch listens for what is done to our table. What this Table does itself is left
// out.
func (n *nft) watch(ctx context.Context, tell func()) error {
	return n.listen(ctx, tell, n.concerns)
}

// listen calls tell when it listens, so that nothing is missed that was done before,
// and then for all news of nf_tables that concern somebody.
func (ns namespace) listen(ctx context.Context, tell func(), concerns func(h netlink.Header, data attrs) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := dialNFT(ns)
	if err != nil {
		return err
	}
	defer s.close()
	s.c.SetReadBuffer(watchSize)
	if err := s.c.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return explain(err, subject{})
	}
	stop := context.AfterFunc(ctx, func() { s.c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	tell()
	for {
		news := false
		_, err := s.receive(true, func(h netlink.Header, data attrs) error {
			if h.Type>>8 == unix.NFNL_SUBSYS_NFTABLES && len(data) >= nfgenSize {
				news = news || concerns(h, data)
			}
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS): // some are lost
			news = true
		case err != nil:
			return err
		}
		if news {
			tell()
		}
	}
}

// concerns tells news of our table.
func (n *nft) concerns(h netlink.Header, data attrs) bool {
	if h.Type&0xff == unix.NFT_MSG_NEWGEN || h.PID == n.port.Load() {
		return false
	}
	// The names of tables of all kinds of news have this type.
	return data[0] == unix.NFPROTO_INET && data[nfgenSize:].text(unix.NFTA_TABLE_NAME) == n.name
}
