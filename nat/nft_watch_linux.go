package nat

import (
	"context"
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// watchSize is the room for news that nobody has looked at yet. What does not fit is
	// told of all the same.
	watchSize = 1 << 20
	// followSize is that for news that may come while our table is read: the kernel
	// takes 10 KiB and more for each transaction.
	followSize = 64 << 20
)

// listenNFT is a socket that hears of all transactions.
func listenNFT(ns namespace, size int) (*nftSocket, error) {
	s, err := dialNFT(ns)
	if err != nil {
		return nil, err
	}
	s.c.SetReadBuffer(size)
	if err := s.c.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		s.close()
		return nil, explain(err, subject{})
	}
	return s, nil
}

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
	s, err := listenNFT(ns, watchSize)
	if err != nil {
		return err
	}
	defer s.close()
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
	if port := n.port.Load(); h.Type&0xff == unix.NFT_MSG_NEWGEN || port != 0 && h.PID == port {
		return false
	}
	// The names of tables of all kinds of news have this type.
	return data[0] == unix.NFPROTO_INET && data[nfgenSize:].text(unix.NFTA_TABLE_NAME) == n.name
}

// follow takes a state to the generation of the last transaction that was told of, if
// none of those since concerned our table. Otherwise it returns errChanged. With wait it
// waits for news.
func (n *nft) follow(s *state, wait bool) error {
	n.news.c.SetReadDeadline(time.Now().Add(time.Second))
	for more := true; more; {
		ours := false
		generation := s.nft.generation
		var err error
		more, err = n.news.receive(wait && generation == s.nft.generation, func(h netlink.Header, data attrs) error {
			switch {
			case h.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(data) < nfgenSize:
			case h.Type&0xff == unix.NFT_MSG_NEWGEN:
				if id := data[nfgenSize:].u32(unix.NFTA_GEN_ID); int32(id-generation) > 0 {
					generation = id
				}
			default:
				ours = ours || n.concerns(h, data)
			}
			return nil
		})
		if err != nil || ours {
			n.hushed() // what is lost is lost; one listens again if need be
			return errChanged
		}
		if generation != s.nft.generation {
			s.nft.generation, wait = generation, false
		}
	}
	return nil
}

// hushed ends the listening.
func (n *nft) hushed() {
	if n.news != nil {
		n.news.close()
		n.news = nil
	}
}
