package nat

import (
	"context"
	"errors"
	"os"
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
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := dialNFT(n.namespace)
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
	tell() // of what was done before we listened
	for {
		news := false
		_, err := s.receive(true, func(h netlink.Header, data attrs) error {
			news = news || n.concerns(h, data)
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS): // some are lost
			news = true
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
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
	if h.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || h.Type&0xff == unix.NFT_MSG_NEWGEN || len(data) < nfgenSize {
		return false
	}
	// The names of tables of all kinds of news have this type.
	return data[0] == unix.NFPROTO_INET && data[nfgenSize:].text(unix.NFTA_TABLE_NAME) == n.name && h.PID != n.port.Load()
}
