package nat

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"sigs.k8s.io/knftables"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/netns"
)

// benchTable is what nft and knftables start with: one map, as we have it.
const benchTable = `table ip BENCH {
	map published {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		%s
	}
	chain prerouting {
		type nat hook prerouting priority -110
		dnat ip to ip daddr . ip protocol . th dport map @published
	}
	chain output {
		type nat hook output priority -110
		dnat ip to ip daddr . ip protocol . th dport map @published
	}
}
`

func newBenchTable(h *lab.Host, counter string) (*programs, error) {
	p := &programs{ns: h.Path()}
	_, err := p.run(fmt.Appendf(nil, benchTable, counter), "nft", "-f", "-")
	return p, err
}

// newNFT is the program nft, with a text that a person would write.
func newNFT(h *lab.Host) (*contestant, error) {
	p, err := newBenchTable(h, "counter")
	key := func(r Rule) string {
		return fmt.Sprintf("%s . tcp . %s", r.Destination.Addr(), r.DestinationPort)
	}
	return &contestant{
		replace: func(rules []Rule) func() error {
			var text bytes.Buffer
			fmt.Fprintf(&text, "flush map ip %s published\n", benchChain)
			for i, r := range rules {
				if i == 0 {
					fmt.Fprintf(&text, "add element ip %s published {\n", benchChain)
				}
				fmt.Fprintf(&text, "%s : %s . %s,\n", key(r), r.To, r.ToPort)
			}
			if len(rules) > 0 {
				text.WriteString("}\n")
			}
			return p.one(text.Bytes(), "nft", "-f", "-")
		},
		add: func(r Rule) func() error {
			return p.one(nil, "nft", "add", "element", "ip", benchChain, "published", fmt.Sprintf("{ %s : %s . %s }", key(r), r.To, r.ToPort))
		},
		remove: func(r Rule) func() error {
			return p.one(nil, "nft", "delete", "element", "ip", benchChain, "published", fmt.Sprintf("{ %s }", key(r)))
		},
		list: func() (int, error) {
			out, err := p.run(nil, "nft", "-j", "list", "table", "ip", benchChain)
			return bytes.Count(out, []byte(`"packets"`)), err
		},
		programs: p,
	}, err
}

// newKnftables is sigs.k8s.io/knftables, which is what kube-proxy has. It has no
// counters of elements.
func newKnftables(h *lab.Host) (*contestant, error) {
	ctx := context.Background()
	_, err := newBenchTable(h, "")
	if err != nil {
		return nil, err
	}
	var k knftables.Interface
	in := func(f func() error) error { return netns.Do(h.Path(), f) }
	err = in(func() (err error) {
		k, err = knftables.New(knftables.IPv4Family, benchChain)
		return err
	})
	element := func(r Rule) *knftables.Element {
		return &knftables.Element{
			Map: "published", Key: []string{r.Destination.Addr().String(), "tcp", r.DestinationPort.String()},
			Value: []string{r.To.String(), r.ToPort.String()},
		}
	}
	run := func(fill func(*knftables.Transaction)) func() error {
		return func() error {
			return in(func() error {
				tx := k.NewTransaction()
				fill(tx)
				return k.Run(ctx, tx)
			})
		}
	}
	return &contestant{
		replace: func(rules []Rule) func() error {
			elements := make([]*knftables.Element, len(rules))
			for i, r := range rules {
				elements[i] = element(r)
			}
			return run(func(tx *knftables.Transaction) {
				tx.Flush(&knftables.Map{Name: "published"})
				for _, e := range elements {
					tx.Add(e)
				}
			})
		},
		add:    func(r Rule) func() error { return run(func(tx *knftables.Transaction) { tx.Add(element(r)) }) },
		remove: func(r Rule) func() error { return run(func(tx *knftables.Transaction) { tx.Delete(element(r)) }) },
		list: func() (n int, err error) {
			err = in(func() error {
				list, err := k.ListElements(ctx, "map", "published")
				n = len(list)
				return err
			})
			return n, err
		},
	}, err
}

// newGoogle is github.com/google/nftables alone: what is left if nobody reads what is
// there, plans, or repairs.
func newGoogle(h *lab.Host) (*contestant, error) {
	if _, err := newBenchTable(h, "counter"); err != nil {
		return nil, err
	}
	var c *nftables.Conn
	err := netns.Do(h.Path(), func() (err error) {
		c, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
			return errors.Join(c.SetReadBuffer(16<<20), c.SetWriteBuffer(16<<20))
		}))
		return err
	})
	m := &nftables.Set{
		Table: &nftables.Table{Name: benchChain, Family: nftables.TableFamilyIPv4}, Name: "published", IsMap: true, Concatenation: true,
		KeyType:  nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService),
		DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService),
	}
	element := func(r Rule) nftables.SetElement {
		key := append(r.Destination.Addr().AsSlice(), byte(r.Protocol), 0, 0, 0)
		val := binary.BigEndian.AppendUint16(r.To.AsSlice(), r.ToPort.First)
		return nftables.SetElement{Key: append(binary.BigEndian.AppendUint16(key, r.DestinationPort.First), 0, 0), Val: append(val, 0, 0)}
	}
	return &contestant{
		replace: func(rules []Rule) func() error {
			elements := make([]nftables.SetElement, len(rules))
			for i, r := range rules {
				elements[i] = element(r)
			}
			return func() error {
				c.FlushSet(m)
				for chunk := range slices.Chunk(elements, 400) {
					if err := c.SetAddElements(m, chunk); err != nil {
						return err
					}
				}
				return c.Flush()
			}
		},
		add: func(r Rule) func() error {
			return func() error { return errors.Join(c.SetAddElements(m, []nftables.SetElement{element(r)}), c.Flush()) }
		},
		remove: func(r Rule) func() error {
			return func() error {
				return errors.Join(c.SetDeleteElements(m, []nftables.SetElement{{Key: element(r).Key}}), c.Flush())
			}
		},
		list: func() (int, error) {
			list, err := c.GetSetElements(m)
			return len(list), err
		},
	}, err
}
