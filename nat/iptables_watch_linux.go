package nat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// watch listens for what is done to the chains of iptables-nft that matter. Of the legacy
// ones the kernel does not tell.
func (b *xtables) watch(ctx context.Context, tell func()) error {
	if b.variant == IPTablesLegacy {
		return fmt.Errorf("the kernel does not tell of changes by iptables-legacy: %w", errors.ErrUnsupported)
	}
	return b.listen(ctx, tell, b.concerns)
}

// concerns tells news of our chains and of those that jump to them, unless a program
// of ours brought them.
func (b *xtables) concerns(h netlink.Header, data attrs) bool {
	if data[0] != unix.NFPROTO_IPV4 && data[0] != unix.NFPROTO_IPV6 || b.own.have(h.PID) {
		return false
	}
	data = data[nfgenSize:]
	if data.text(unix.NFTA_TABLE_NAME) != "nat" { // of this type in all kinds of news
		return false
	}
	chain := ""
	switch h.Type & 0xff {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE:
		return true
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN:
		chain = data.text(unix.NFTA_CHAIN_NAME)
	case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		chain = data.text(unix.NFTA_RULE_CHAIN)
	}
	return chain != "" && (slices.Contains(b.names[:], chain) || slices.Contains(xtHooks[:], chain))
}

// xtWriters are the last programs that were started, by the number of their processes,
// which is that of their sockets too (net/netlink/af_netlink.c, netlink_autobind).
type xtWriters struct {
	pids [8]atomic.Uint32
	next atomic.Uint32
}

func (w *xtWriters) add(pid int) { w.pids[w.next.Add(1)%uint32(len(w.pids))].Store(uint32(pid)) }

func (w *xtWriters) have(port uint32) bool {
	for i := range w.pids {
		if port != 0 && w.pids[i].Load() == port {
			return true
		}
	}
	return false
}
