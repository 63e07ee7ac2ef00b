package nat

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// probeNFTables tells whether the kernel has what NFTables needs. It begins a transaction
// that makes a chain of NAT, and never ends it: the kernel checks it, loads
// its modules for it, and drops it (net/netfilter/nfnetlink.c, nfnetlink_rcv_batch).
func probeNFTables(ns namespace) error {
	var c *netlink.Conn
	err := ns.do(func() (err error) {
		c, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	})
	if err != nil {
		return explainProbe(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(openMost))
	messages, err := probe()
	if err == nil {
		_, err = c.SendMessages(messages)
	}
	for acks := 0; err == nil && acks < len(messages)-1; { // none for the first
		var answers []netlink.Message
		answers, err = c.Receive()
		acks += len(answers)
	}
	return explainProbe(err)
}

// probe is the messages.
func probe() ([]netlink.Message, error) {
	const table = "lvskit_probe"
	body := netlink.NewAttributeEncoder()
	body.ByteOrder = binary.BigEndian
	body.String(unix.NFTA_CHAIN_TABLE, table)
	body.String(unix.NFTA_CHAIN_NAME, "prerouting")
	body.String(unix.NFTA_CHAIN_TYPE, "nat")
	body.Nested(unix.NFTA_CHAIN_HOOK, func(hook *netlink.AttributeEncoder) error {
		hook.ByteOrder = binary.BigEndian
		hook.Uint32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_PRE_ROUTING)
		hook.Int32(unix.NFTA_HOOK_PRIORITY, -110)
		return nil
	})
	chain, err := body.Encode()
	if err != nil {
		return nil, err
	}
	name, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_TABLE_NAME, Data: append([]byte(table), 0)}})
	if err != nil {
		return nil, err
	}
	message := func(typ netlink.HeaderType, family byte, res uint16, flags netlink.HeaderFlags, attrs []byte) netlink.Message {
		head := binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, res)
		return netlink.Message{Header: netlink.Header{Type: typ, Flags: netlink.Request | flags}, Data: append(head, attrs...)}
	}
	const nft = unix.NFNL_SUBSYS_NFTABLES << 8
	return []netlink.Message{
		message(unix.NFNL_MSG_BATCH_BEGIN, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, 0, nil),
		message(nft|unix.NFT_MSG_NEWTABLE, unix.NFPROTO_INET, 0, netlink.Create|netlink.Acknowledge, name),
		message(nft|unix.NFT_MSG_NEWCHAIN, unix.NFPROTO_INET, 0, netlink.Create|netlink.Acknowledge, chain),
	}, nil
}

func explainProbe(err error) error {
	if err == nil {
		return nil
	}
	return explainNFTables(fmt.Errorf("a chain of NAT: %w", err))
}
