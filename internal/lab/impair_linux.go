package lab

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
)

// netemQueue is how many frames a delay may hold.
const netemQueue = 100_000

// Impair makes the link lose, delay or double frames in each direction, or
// with the zero value not any more. A kernel without netem (the module
// sch_netem) answers errors.ErrUnsupported.
func (k *Link) Impair(i Impairment) error {
	err := i.check()
	if err == nil {
		err = k.host.lab.use(func() error { return k.setNetem(i) })
	}
	if err != nil {
		return k.host.wrap("impair "+k.config.Name, err)
	}
	k.host.lab.log.Debug("link impaired", "host", k.host.name, "interface", k.config.Name,
		"loss", i.Loss, "delay", i.Delay, "jitter", i.Jitter, "duplicate", i.Duplicate)
	return nil
}

// setNetem sets the queues at both ends, since each end spoils what it sends.
func (k *Link) setNetem(i Impairment) error {
	host := k.host.space.nl
	if err := netem(host, k.index, i); err != nil {
		return err
	}
	if err := netem(k.host.lab.fabric.nl, k.port.Index, i); err != nil {
		return errors.Join(err, netem(host, k.index, Impairment{}))
	}
	return nil
}

func netem(nl *netlink.Handle, index int, i Impairment) error {
	attrs := netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
	if i == (Impairment{}) {
		return withoutNetem(nl, attrs)
	}
	err := nl.QdiscReplace(netlink.NewNetem(attrs, netlink.NetemQdiscAttrs{
		Latency:   uint32(i.Delay.Microseconds()),
		Jitter:    uint32(i.Jitter.Microseconds()),
		Loss:      float32(i.Loss * 100),
		Duplicate: float32(i.Duplicate * 100),
		Limit:     netemQueue,
	}))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the kernel has no netem: modprobe sch_netem: %w", errors.ErrUnsupported)
	}
	return err
}

func withoutNetem(nl *netlink.Handle, attrs netlink.QdiscAttrs) error {
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: attrs.LinkIndex}}
	have, err := nl.QdiscList(link)
	if err != nil {
		return err
	}
	for _, q := range have {
		if _, ok := q.(*netlink.Netem); ok {
			return nl.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: attrs, QdiscType: "netem"})
		}
	}
	return nil
}
