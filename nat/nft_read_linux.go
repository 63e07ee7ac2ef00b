package nat

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Rules are read here and not by the library, which does not take back the original
// destination that it writes (expr.Ct with a direction, which the kernel answers in
// one byte).

// kernelRule is a rule of ours as the kernel has it.
type kernelRule struct {
	handle         uint64
	user           []byte
	exprs          []byte // attributes, one for each expression
	packets, bytes uint64
}

// dumpRules reads the rules of a chain.
func (n *nft) dumpRules(chain string) ([]kernelRule, error) {
	messages, err := n.dump(unix.NFT_MSG_GETRULE, netlink.Attribute{Type: unix.NFTA_RULE_CHAIN, Data: append([]byte(chain), 0)})
	if err != nil {
		return nil, fmt.Errorf("read chain %s: %w", chain, err)
	}
	var rules []kernelRule
	for _, m := range messages {
		attrs, err := attributes(m)
		if err != nil {
			return nil, err
		}
		k := kernelRule{user: attrs[unix.NFTA_RULE_USERDATA], exprs: attrs[unix.NFTA_RULE_EXPRESSIONS]}
		if h := attrs[unix.NFTA_RULE_HANDLE]; len(h) == 8 {
			k.handle = binary.BigEndian.Uint64(h)
		}
		rules = append(rules, k)
	}
	return rules, nil
}

// dumpSize is the most that the kernel writes into one message of a dump. It walks
// a set from its beginning for each.
const dumpSize = 32 << 10

// dump reads what the kernel has of our table.
func (n *nft) dump(command netlink.HeaderType, of netlink.Attribute) ([][]byte, error) {
	cfg := &netlink.Config{MessageBufferSize: dumpSize, NetNS: int(n.file.Fd())}
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	// The types of the table's name are all 1.
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: append([]byte(n.name), 0)}, of})
	if err != nil {
		return nil, err
	}
	messages, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | command, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{byte(nftables.TableFamilyINet), unix.NFNETLINK_V0, 0, 0}, attrs...),
	})
	if err != nil {
		return nil, err
	}
	list := make([][]byte, 0, len(messages))
	for _, m := range messages {
		if len(m.Data) >= 4 {
			list = append(list, m.Data[4:])
		}
	}
	return list, nil
}

// kernelElement is an element of a set or map of ours.
type kernelElement struct {
	key, val, user []byte
	packets, bytes uint64
}

// dumpElements reads the elements of a set.
func (n *nft) dumpElements(set string, each func(kernelElement)) error {
	messages, err := n.dump(unix.NFT_MSG_GETSETELEM, netlink.Attribute{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: append([]byte(set), 0)})
	if err != nil {
		return fmt.Errorf("read set %s: %w", set, err)
	}
	for _, m := range messages {
		err := eachAttribute(m, func(typ uint16, b []byte) error {
			if typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				return nil
			}
			return eachAttribute(b, func(_ uint16, b []byte) error {
				e, err := decodeElement(b)
				if err == nil {
					each(e)
				}
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func decodeElement(b []byte) (e kernelElement, err error) {
	value := func(to *[]byte, b []byte) error {
		return eachAttribute(b, func(typ uint16, b []byte) error {
			if typ == unix.NFTA_DATA_VALUE {
				*to = b
			}
			return nil
		})
	}
	err = eachAttribute(b, func(typ uint16, b []byte) error {
		switch typ {
		case unix.NFTA_SET_ELEM_KEY:
			return value(&e.key, b)
		case unix.NFTA_SET_ELEM_DATA:
			return value(&e.val, b)
		case unix.NFTA_SET_ELEM_USERDATA:
			e.user = b
		case unix.NFTA_SET_ELEM_EXPR:
			attrs, err := attributes(b)
			if err != nil {
				return err
			}
			e.packets, e.bytes = counter(attrs[unix.NFTA_EXPR_DATA])
		}
		return nil
	})
	return e, err
}

// eachAttribute calls f for each netlink attribute, without copying.
func eachAttribute(b []byte, f func(typ uint16, b []byte) error) error {
	for len(b) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			return errNotOurs
		}
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := f(typ, b[unix.SizeofNlAttr:size]); err != nil {
			return err
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

// attributes are netlink attributes by type.
func attributes(b []byte) (map[uint16][]byte, error) {
	list, err := netlink.UnmarshalAttributes(b)
	if err != nil {
		return nil, err
	}
	m := make(map[uint16][]byte, len(list))
	for _, a := range list {
		m[a.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = a.Data
	}
	return m, nil
}

// rule is the rule that its user data has.
func (k kernelRule) rule() (Rule, error) {
	name, _ := userdata.GetString(k.user, userdata.TypeComment)
	return decodeRule(userdata.Get(k.user, ruleData), name)
}

// is tells whether the rule does what these expressions do, and reads its counter.
func (k *kernelRule) is(ours []expr.Any) bool {
	theirs, err := netlink.UnmarshalAttributes(k.exprs)
	if err != nil || len(theirs) != len(ours) {
		return false
	}
	for i, e := range ours {
		b, err := expr.Marshal(byte(nftables.TableFamilyINet), e)
		if err != nil {
			return false
		}
		have, err := attributes(theirs[i].Data)
		if err != nil {
			return false
		}
		want, err := attributes(b)
		if err != nil || !bytes.Equal(want[unix.NFTA_EXPR_NAME], have[unix.NFTA_EXPR_NAME]) {
			return false
		}
		switch e := e.(type) {
		case *expr.Counter:
			k.packets, k.bytes = counter(have[unix.NFTA_EXPR_DATA])
		case *expr.Lookup:
			if !k.looksUp(e, have[unix.NFTA_EXPR_DATA]) {
				return false
			}
		default:
			if _, ok := e.(*expr.NAT); ok {
				have[unix.NFTA_EXPR_DATA] = withoutMapIPs(have[unix.NFTA_EXPR_DATA])
			}
			if !includes(have[unix.NFTA_EXPR_DATA], want[unix.NFTA_EXPR_DATA]) {
				return false
			}
		}
	}
	return true
}

// withoutMapIPs clears the flag that the kernel itself sets where there is an address
// (NF_NAT_RANGE_MAP_IPS).
func withoutMapIPs(b []byte) []byte {
	attrs, err := netlink.UnmarshalAttributes(b)
	if err != nil {
		return nil
	}
	for _, a := range attrs {
		if a.Type == unix.NFTA_NAT_FLAGS && len(a.Data) == 4 {
			a.Data[3] &^= unix.NF_NAT_RANGE_MAP_IPS
		}
	}
	b, _ = netlink.MarshalAttributes(attrs)
	return b
}

// counter reads the attributes of one.
func counter(b []byte) (packets, bytes uint64) {
	eachAttribute(b, func(typ uint16, b []byte) error {
		switch {
		case len(b) != 8:
		case typ == unix.NFTA_COUNTER_PACKETS:
			packets = binary.BigEndian.Uint64(b)
		case typ == unix.NFTA_COUNTER_BYTES:
			bytes = binary.BigEndian.Uint64(b)
		}
		return nil
	})
	return packets, bytes
}

// looksUp compares the set of a lookup by its name: it has no number any more, and an
// anonymous one has a name that the kernel gave it.
func (k *kernelRule) looksUp(e *expr.Lookup, b []byte) bool {
	attrs, err := attributes(b)
	name := string(bytes.TrimRight(attrs[unix.NFTA_LOOKUP_SET], "\x00"))
	return err == nil && (name == e.SetName || e.SetName == anonymousMap && len(name) > 5 && name[:5] == "__map")
}

// anonymousMap is the pattern by which the kernel names one.
const anonymousMap = "__map%d"

// includes tells whether the kernel has all that we would write: it adds what we
// leave out.
func includes(theirs, ours []byte) bool {
	have, err := attributes(theirs)
	if err != nil {
		return false
	}
	want, err := netlink.UnmarshalAttributes(ours)
	if err != nil {
		return false
	}
	for _, a := range want {
		b, ok := have[a.Type&^unix.NLA_F_NESTED]
		switch {
		case !ok:
			return false
		case a.Type&unix.NLA_F_NESTED != 0:
			if !includes(b, a.Data) {
				return false
			}
		case len(b) < len(a.Data):
			if !bytes.HasPrefix(a.Data, b) { // the direction of ct
				return false
			}
		case !bytes.Equal(b, a.Data):
			return false
		}
	}
	return true
}
