package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ifaProto is IFA_PROTO of uapi linux/if_addr.h: who made the address.
const ifaProto = 11

// addresses reads all addresses of these interfaces. An index asks the kernel
// for those of one interface.
func (k *kernel) addresses(links []Link, index int) ([]Present, error) {
	names := map[int]string{}
	for _, link := range links {
		names[link.Index] = link.Name
	}
	head := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	head.Index = uint32(index) // kernels before 4.20 ignore it and tell all
	msgs, err := k.dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, head)
	if err != nil {
		return nil, err
	}
	list := make([]Present, 0, len(msgs))
	for _, msg := range msgs {
		p, err := parseAddress(msg)
		if err != nil {
			return nil, err
		}
		p.Interface = names[p.Index]
		p.Ours = p.Proto == k.mark || k.notes.owns(p)
		if p.Interface != "" { // else the interface came or went meanwhile, or is not asked for
			list = append(list, p)
		}
	}
	return list, nil
}

// parseAddress reads an RTM_NEWADDR or RTM_DELADDR message. Interface stays
// empty, as the message has only the index.
func parseAddress(msg []byte) (Present, error) {
	if len(msg) < unix.SizeofIfAddrmsg {
		return Present{}, errShort
	}
	head := nl.DeserializeIfAddrmsg(msg)
	p := Present{Index: int(head.Index), Preferred: true}
	p.Bits, p.Scope = int(head.Prefixlen), Scope(head.Scope)
	if head.Family != unix.AF_INET {
		p.Scope = ScopeGlobal
	}
	flags := uint32(head.Flags)
	var local bool
	err := attributes(msg[unix.SizeofIfAddrmsg:], func(kind uint16, v []byte) error {
		addr, _ := netip.AddrFromSlice(v)
		switch {
		case kind == unix.IFA_LOCAL:
			p.Addr, local = addr, true
		case kind == unix.IFA_ADDRESS && !local:
			p.Addr = addr // with IFA_LOCAL it is the peer's
		case kind == unix.IFA_LABEL:
			p.Label = unix.ByteSliceToString(v)
		case kind == unix.IFA_FLAGS && len(v) >= 4:
			flags = binary.NativeEndian.Uint32(v)
		case kind == ifaProto && len(v) >= 1:
			p.Proto = v[0]
		}
		return nil
	})
	if err == nil && !p.Addr.IsValid() {
		err = errShort
	}
	p.Secondary = head.Family == unix.AF_INET && flags&unix.IFA_F_SECONDARY != 0
	p.Tentative = flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0
	p.Preferred = flags&unix.IFA_F_DEPRECATED == 0
	return p, err
}

var errShort = errors.New("netlink message cut short")

// attributes calls fn for each attribute in b.
func attributes(b []byte, fn func(kind uint16, value []byte) error) error {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return errShort
		}
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := fn(kind, b[unix.SizeofRtAttr:size]); err != nil {
			return err
		}
		b = b[min(len(b), (size+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1)):]
	}
	return nil
}

// addressMessage is the head and the attributes that identify an address.
func (k *kernel) addressMessage(a Address) (head *nl.IfAddrmsg, index int, data []nl.NetlinkRequestData, err error) {
	if index, err = k.indexOf(a.Interface); err != nil {
		return nil, 0, nil, err
	}
	head = nl.NewIfAddrmsg(unix.AF_INET)
	if a.Addr.Is6() {
		head.Family = unix.AF_INET6
	}
	head.Prefixlen, head.Index = uint8(a.Bits), uint32(index)
	ip := a.Addr.AsSlice()
	return head, index, []nl.NetlinkRequestData{head, nl.NewRtAttr(unix.IFA_LOCAL, ip), nl.NewRtAttr(unix.IFA_ADDRESS, ip)}, nil
}

// addition is the message that adds an address with our mark, and never changes
// one that is there. Without a mark in the kernel the address is noted.
func (k *kernel) addition(a Address) (*nl.NetlinkRequest, error) {
	head, index, data, err := k.addressMessage(a)
	if err != nil {
		return nil, err
	}
	label := a.Label
	if a.Addr.Is6() {
		head.Flags = unix.IFA_F_NODAD
		life := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Prefered: 0, Valid: math.MaxUint32}}
		data = append(data, nl.NewRtAttr(unix.IFA_CACHEINFO, life.Serialize()))
	} else {
		head.Scope = uint8(a.Scope)
		if label == "" && k.legacy {
			label = ownerLabel(a.Interface)
		}
		if label != "" {
			data = append(data, nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(label)))
		}
	}
	if !k.legacy {
		data = append(data, nl.NewRtAttr(ifaProto, []byte{k.mark}))
	} else {
		k.notes.noteAddress(notedAddress{Index: index, Prefix: a.Prefix(), Label: label})
		k.file.dirty = true
	}
	return k.request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, data...), nil
}

// added says what the kernel's answer to an addition means.
func (k *kernel) added(a Address, err error) error {
	if err == nil {
		return nil
	}
	if index, ierr := k.indexOf(a.Interface); k.legacy && ierr == nil {
		k.notes.dropAddress(index, a.Prefix())
		k.file.dirty = true
	}
	if a.Addr.Is6() && errors.Is(err, unix.EACCES) {
		return fmt.Errorf("IPv6 is off on %s: sysctl -w net.ipv6.conf.%s.disable_ipv6=0 (%w)", a.Interface, a.Interface, err)
	}
	return words(err)
}

// deletion is the message that deletes an address, nil if its interface has gone.
func (k *kernel) deletion(a Address) (*nl.NetlinkRequest, error) {
	_, _, data, err := k.addressMessage(a)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return k.request(unix.RTM_DELADDR, 0, data...), err
}

// deleted says what the kernel's answer to a deletion means; it is fine if there
// was none.
func (k *kernel) deleted(a Address, err error) error {
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
		return words(err)
	}
	if index, err := k.indexOf(a.Interface); k.legacy && err == nil {
		k.notes.dropAddress(index, a.Prefix())
		k.file.dirty = true
	}
	return nil
}

// deleteAddress deletes one address.
func (k *kernel) deleteAddress(a Address) error {
	return k.addressesAtOnce([]Change{{Op: DeleteAddress, Address: a}})[0]
}

// addressesAtOnce makes changes that all add or all delete an address, in one
// batch, and returns an error for each, or nil.
func (k *kernel) addressesAtOnce(changes []Change) []error {
	errs := make([]error, len(changes))
	var reqs []*nl.NetlinkRequest
	var of []int
	for i, c := range changes {
		message := k.deletion
		if c.Op == AddAddress {
			message = k.addition
		}
		req, err := message(c.Address)
		if errs[i] = err; err == nil && req != nil {
			reqs, of = append(reqs, req), append(of, i)
		}
	}
	if k.legacy && changes[0].Op == AddAddress {
		if err := k.saveNow(); err != nil {
			for i := range errs {
				errs[i] = err
			}
			return errs
		}
	}
	for n, err := range k.batch(reqs) {
		c := changes[of[n]]
		if c.Op == AddAddress {
			errs[of[n]] = k.added(c.Address, err)
		} else {
			errs[of[n]] = k.deleted(c.Address, err)
		}
	}
	return errs
}
