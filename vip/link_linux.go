package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// withoutStats asks for interfaces without their counters.
var withoutStats = binary.NativeEndian.AppendUint32(nil, 1<<3) // RTEXT_FILTER_SKIP_STATS

// links reads all interfaces of the namespace.
func (k *kernel) links() ([]Link, error) {
	msgs, err := k.dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_EXT_MASK, withoutStats))
	if err != nil {
		return nil, err
	}
	list := make([]Link, 0, len(msgs))
	for _, msg := range msgs {
		link, err := parseLink(msg)
		if err != nil {
			return nil, err
		}
		list = append(list, k.own(link))
	}
	return list, nil
}

// own marks a device that is ours.
func (k *kernel) own(link Link) Link {
	link.Ours = strings.HasPrefix(link.Alias, aliasPrefix(k.mark)) || link.Name == tempName(k.mark)
	return link
}

// oneLink reads the interface with this index or, if that is 0, this name.
func (k *kernel) oneLink(index int, name string) (Link, error) {
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Index = int32(index)
	data := []nl.NetlinkRequestData{head, nl.NewRtAttr(unix.IFLA_EXT_MASK, withoutStats)}
	if index == 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	}
	msgs, err := k.request(unix.RTM_GETLINK, 0, data...).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return Link{}, words(err)
	}
	if len(msgs) == 0 {
		return Link{}, errShort
	}
	link, err := parseLink(msgs[0])
	return k.own(link), err
}

func parseLink(msg []byte) (Link, error) {
	if len(msg) < unix.SizeofIfInfomsg {
		return Link{}, errShort
	}
	head := nl.DeserializeIfInfomsg(msg)
	link := Link{Index: int(head.Index), Up: head.Flags&unix.IFF_UP != 0, Carrier: head.Flags&unix.IFF_RUNNING != 0}
	learns := head.Type == unix.ARPHRD_ETHER && head.Flags&(unix.IFF_NOARP|unix.IFF_LOOPBACK) == 0
	err := attributes(msg[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) error {
		switch kind {
		case unix.IFLA_IFNAME:
			link.Name = unix.ByteSliceToString(v)
		case unix.IFLA_IFALIAS:
			link.Alias = unix.ByteSliceToString(v)
		case unix.IFLA_ADDRESS:
			if learns && len(v) == 6 {
				link.MAC = slices.Clone(v)
			}
		case unix.IFLA_GROUP:
			if len(v) >= 4 {
				link.group = binary.NativeEndian.Uint32(v)
			}
		case unix.IFLA_LINK:
			if len(v) >= 4 {
				link.Parent = int(binary.NativeEndian.Uint32(v))
			}
		case unix.IFLA_AF_SPEC:
			return link.parseFamilies(v)
		}
		return nil
	})
	return link, err
}

// parseFamilies reads what IPv4 and IPv6 say of the interface.
func (l *Link) parseFamilies(v []byte) error {
	return attributes(v, func(family uint16, v []byte) error {
		return attributes(v, func(kind uint16, v []byte) error {
			switch {
			case family == unix.AF_INET && kind == unix.IFLA_INET_CONF:
				l.Conf = parseConf(v)
			case family == unix.AF_INET6 && kind == unix.IFLA_INET6_CONF && len(v) >= 4:
				l.Router = binary.NativeEndian.Uint32(v) != 0 // DEVCONF_FORWARDING is the first
			}
			return nil
		})
	})
}

// addTunnel makes a device. It is made under a name that says whose it is, and
// gets its alias and its own name in one step, so that a kill at any moment
// leaves nothing that is not known as ours.
func (k *kernel) addTunnel(t Tunnel) error {
	temp := tempName(k.mark)
	if err := k.deleteLink(temp); err != nil {
		return err
	}
	err := netlink.LinkAdd(t.device(temp))
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("this kernel has no %v devices: modprobe %s (%w)", t.Kind, tunnelKinds[t.Kind].module, errors.ErrUnsupported)
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("a %v device with local address %v is %w: use that one with Tunnel.Existing", t.Kind, t.Local, ErrForeign)
	case err != nil:
		return words(err)
	}
	link, err := k.oneLink(0, temp)
	if err != nil {
		return err
	}
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Index, head.Flags, head.Change = int32(link.Index), unix.IFF_UP, unix.IFF_UP
	data := []nl.NetlinkRequestData{
		head, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(t.Name)),
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(t.alias(k.mark))),
	}
	if t.MTU != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(t.MTU))))
	}
	_, err = k.request(unix.RTM_SETLINK, unix.NLM_F_ACK, data...).Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return errors.Join(words(err), k.deleteLink(temp))
	}
	return nil
}

// device is the tunnel for the netlink package: from anybody to Local.
func (t Tunnel) device(name string) netlink.Link {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	local := t.Local.AsSlice()
	switch t.Kind {
	case SIT:
		return &netlink.Sittun{LinkAttrs: attrs, Local: local, PMtuDisc: 1}
	case IP6Tunnel:
		return &netlink.Ip6tnl{LinkAttrs: attrs, Local: local, Ttl: 64}
	case GRE, IP6GRE:
		gre := &netlink.Gretun{LinkAttrs: attrs, Local: local, PMtuDisc: 1, Ttl: 64}
		if t.Checksum {
			gre.IFlags = nl.GRE_CSUM
		}
		return gre
	}
	return &netlink.Iptun{LinkAttrs: attrs, Local: local, PMtuDisc: 1}
}

// deleteLink deletes a device; it is fine if there is none.
func (k *kernel) deleteLink(name string) error {
	k.forget(name)
	link, err := k.oneLink(0, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Index = int32(link.Index)
	_, err = k.request(unix.RTM_DELLINK, unix.NLM_F_ACK, head).Execute(unix.NETLINK_ROUTE, 0)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return words(err)
	}
	if k.notes.dropInterface(link.Index) {
		k.file.dirty = true
	}
	return nil
}

// deleteLinks deletes devices at once, and returns an error or nil for each. The
// kernel waits for all processors once for each deletion, some 20 ms, so several
// are made a group, and the group is deleted.
func (k *kernel) deleteLinks(names []string) []error {
	errs := make([]error, len(names))
	if k.groupDeleted(names) {
		for _, name := range names {
			k.forget(name)
		}
		return errs
	}
	for i, name := range names {
		errs[i] = k.deleteLink(name)
	}
	return errs
}

// groupDeleted tells whether devices were deleted as a group of their own, which
// nothing else is in.
func (k *kernel) groupDeleted(names []string) bool {
	group := nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(deleteGroup|uint32(k.mark)))
	links, err := k.links()
	if err != nil {
		return false
	}
	var reqs []*nl.NetlinkRequest
	var gone []int
	for _, link := range links {
		if link.Ours && slices.Contains(names, link.Name) {
			head := nl.NewIfInfomsg(unix.AF_UNSPEC)
			head.Index = int32(link.Index)
			reqs, gone = append(reqs, k.request(unix.RTM_SETLINK, 0, head, group)), append(gone, link.Index)
		} else if link.group == deleteGroup|uint32(k.mark) {
			return false
		}
	}
	if len(gone) == 0 || errors.Join(k.batch(reqs)...) != nil {
		return false
	}
	_, err = k.request(unix.RTM_DELLINK, unix.NLM_F_ACK, nl.NewIfInfomsg(unix.AF_UNSPEC), group).Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return false
	}
	for _, index := range gone {
		if k.notes.dropInterface(index) {
			k.file.dirty = true
		}
	}
	return true
}

// deleteGroup and the mark are the number of the group that is deleted.
const deleteGroup = 0x6c7600 << 8

func (g GUE) family() int {
	if g.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// ports lists the GUE ports of our notes that the kernel has, and drops the
// others from the notes: a program was killed before it opened or after it
// closed them. Without notes it does not ask, as asking would load the module.
func (k *kernel) ports() ([]GUE, error) {
	if len(k.notes.Ports) == 0 {
		return nil, nil
	}
	have, err := netlink.FouList(unix.AF_UNSPEC)
	if err != nil && !errors.Is(err, unix.ENOENT) { // no module, no ports
		return nil, fmt.Errorf("read GUE ports: %w", err)
	}
	noted := len(k.notes.Ports)
	k.notes.Ports = slices.DeleteFunc(k.notes.Ports, func(g GUE) bool {
		return !slices.ContainsFunc(have, func(f netlink.Fou) bool {
			return f.Port == int(g.Port) && f.Family == g.family() && f.EncapType == netlink.FOU_ENCAP_GUE
		})
	})
	k.file.dirty = k.file.dirty || noted != len(k.notes.Ports)
	return slices.Clone(k.notes.Ports), nil
}

// fou sends a command about a port. The netlink package would add protocol 0,
// which kernels refuse as out of range.
func (g GUE) fou(command byte) error {
	family, err := netlink.GenlFamilyGet(netlink.FOU_GENL_NAME)
	if err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	req.AddRawData([]byte{command, 1, 0, 0})
	for _, attr := range []*nl.RtAttr{
		nl.NewRtAttr(netlink.FOU_ATTR_PORT, binary.BigEndian.AppendUint16(nil, g.Port)),
		nl.NewRtAttr(netlink.FOU_ATTR_AF, []byte{byte(g.family())}),
		nl.NewRtAttr(netlink.FOU_ATTR_TYPE, []byte{netlink.FOU_ENCAP_GUE}),
	} {
		req.AddRawData(attr.Serialize())
	}
	_, err = req.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

// openPort makes the kernel take GUE on a port.
func (k *kernel) openPort(g GUE) error {
	k.notes.notePort(g)
	if err := k.saveNow(); err != nil {
		return err
	}
	err := g.fou(netlink.FOU_CMD_ADD)
	if err == nil {
		return nil
	}
	k.notes.dropPort(g)
	k.file.dirty = true
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("this kernel has no GUE: modprobe fou, and fou6 for IPv6 (%w)", errors.ErrUnsupported)
	}
	return words(err)
}

// closePort undoes openPort; it is fine if the port is closed.
func (k *kernel) closePort(g GUE) error {
	if err := g.fou(netlink.FOU_CMD_DEL); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return words(err)
	}
	k.notes.dropPort(g)
	k.file.dirty = true
	return nil
}
