package lab

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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
	var errs []error
	for _, end := range []struct {
		nl    *netlink.Handle
		index int
	}{
		{k.host.space.nl, k.index},
		{k.host.lab.fabric.nl, k.port.Index},
	} {
		attrs := netlink.QdiscAttrs{LinkIndex: end.index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
		if i != (Impairment{}) {
			k.impaired = true
			errs = append(errs, addNetem(end.nl, attrs, i))
		} else if k.impaired {
			errs = append(errs, deleteNetem(end.nl, attrs))
		}
	}
	return errors.Join(errs...)
}

func addNetem(nl *netlink.Handle, attrs netlink.QdiscAttrs, i Impairment) error {
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

// deleteNetem passes over an end that has none: the kernel says that there is
// no such queue, or that the present one is of another kind.
func deleteNetem(nl *netlink.Handle, attrs netlink.QdiscAttrs) error {
	err := nl.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: attrs, QdiscType: "netem"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}
