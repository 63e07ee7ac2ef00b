package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
)

// frame is one that announces.
type frame struct {
	task
	index int
	data  []byte
}

// someLinks is up to how many interfaces are asked for one by one.
const someLinks = 4

// send sends one round of each task, which are sorted by interface.
func (m *Manager) send(ctx context.Context, tasks []task) error {
	have, err := m.survey(tasks)
	if err != nil {
		for _, t := range tasks {
			m.herald.finish(time.Now(), t, defeated)
		}
		return err
	}
	ready := map[task]*Link{}
	for _, t := range tasks {
		link, there := have.find(t.addr)
		switch {
		case link == nil || there && link.MAC != nil && !(link.Up && link.Carrier):
			m.herald.finish(time.Now(), t, unready)
		case !there || link.MAC == nil:
			m.herald.finish(time.Now(), t, nobody)
		default:
			ready[t] = link
		}
	}
	tasks = slices.DeleteFunc(tasks, func(t task) bool { return ready[t] == nil })
	return m.transmit(ctx, tasks, ready)
}

// find tells on which interface an address is, and whether it is there, is ours
// and can be used. It stays with an interface that is renamed.
func (s *Snapshot) find(a Address) (link *Link, there bool) {
	link = s.link(a.Interface)
	for _, p := range s.Addresses {
		if p.Addr == a.Addr && p.Ours && !p.Tentative && (link == nil || p.Index == link.Index) {
			return s.link(p.Interface), true
		}
	}
	return link, false
}

// survey reads the interfaces and addresses that the tasks are about.
func (m *Manager) survey(tasks []task) (Snapshot, error) {
	var names []string
	for _, t := range tasks {
		if len(names) == 0 || names[len(names)-1] != t.addr.Interface {
			names = append(names, t.addr.Interface)
		}
	}
	var have Snapshot
	err := m.quick(func(k *kernel) error {
		err := k.readSome(names[:min(len(names), someLinks)])
		if err == nil && len(k.have.Links) < len(names) { // many, or one is gone or has been renamed
			err = k.table()
		}
		have = k.have
		return err
	})
	return have, err
}

// transmit sends the frames: first one for every address, then the second ones,
// so that all are known early.
func (m *Manager) transmit(ctx context.Context, tasks []task, links map[task]*Link) error {
	var errs []error
	outcomes := make([]outcome, len(tasks))
	for form := range 2 {
		for i, t := range tasks {
			link := links[t]
			data, err := announcement(form, link, t.addr.Addr)
			if err == nil && data != nil && outcomes[i] == sent {
				err = m.dispatch(ctx, frame{t, link.Index, data})
			}
			switch {
			case ctx.Err() != nil && err != nil:
				return ctx.Err() // whoever held these addresses gives up
			case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
				outcomes[i] = unready
			case err != nil:
				outcomes[i] = defeated
				errs = append(errs, opError("announce", t.addr.object(), err))
			}
		}
	}
	for i, t := range tasks {
		m.herald.finish(time.Now(), t, outcomes[i])
	}
	return errors.Join(errs...)
}

// announcement is the frame of an announcement in its first or second form, nil
// if it has no second one.
func announcement(form int, link *Link, addr netip.Addr) ([]byte, error) {
	switch {
	case addr.Is4() && form == 0:
		return gratuitous(arp.OperationRequest, link.MAC, make(net.HardwareAddr, 6), addr)
	case addr.Is4():
		return gratuitous(arp.OperationReply, link.MAC, link.MAC, addr)
	case form == 0:
		return advertisement(link.MAC, addr, link.Router), nil
	}
	return nil, nil
}

// gratuitous is the frame of a gratuitous ARP packet.
func gratuitous(op arp.Operation, mac, target net.HardwareAddr, addr netip.Addr) ([]byte, error) {
	return arpFrame(op, ethernet.Broadcast, mac, addr, target, addr)
}

func arpFrame(op arp.Operation, to, mac net.HardwareAddr, src netip.Addr, target net.HardwareAddr, dst netip.Addr) ([]byte, error) {
	packet, err := arp.NewPacket(op, mac, src, target, dst)
	if err != nil {
		return nil, err
	}
	payload, err := packet.MarshalBinary()
	if err != nil {
		return nil, err
	}
	f := ethernet.Frame{Destination: to, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: payload}
	return f.MarshalBinary()
}

// dispatch sends a frame when the pace allows it, if what it tells is still so.
func (m *Manager) dispatch(ctx context.Context, f frame) error {
	h := m.herald
	for {
		h.mu.Lock()
		if h.entry(f.task) == nil {
			h.mu.Unlock()
			return nil
		}
		wait := h.pace(time.Now())
		if wait > 0 {
			h.mu.Unlock()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
			continue
		}
		err := h.out.send(m.cfg.NetNS, f.index, f.data)
		if err == nil {
			h.sent++
		} else {
			h.failed++
		}
		h.mu.Unlock()
		return err
	}
}

// sender is a packet socket for all interfaces. It is not one of
// mdlayher/packet, because those are bound to an interface and a protocol each:
// they would queue what comes in, and closing each would wait for all processors
// (net/packet/af_packet.c, packet_release).
type sender struct{ fd, opened int }

// senderBuffer holds a burst of frames on a slow interface, in bytes.
const senderBuffer = 1 << 20

func (s *sender) open(path string) error {
	return netns.Do(path, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("open packet socket: it takes CAP_NET_RAW in this network namespace: %w", err)
		}
		if err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, senderBuffer) // without it, what it has
		s.fd, s.opened = fd, 1
		return nil
	})
}

// send sends a frame out of an interface.
func (s *sender) send(path string, index int, frame []byte) error {
	if s.opened == 0 {
		if err := s.open(path); err != nil {
			return err
		}
	}
	to := unix.SockaddrLinklayer{Ifindex: index, Halen: 6, Protocol: binary.NativeEndian.Uint16(frame[12:])}
	copy(to.Addr[:], frame[:6])
	for {
		err := unix.Sendto(s.fd, frame, 0, &to)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (s *sender) close() error {
	if s.opened == 0 {
		return nil
	}
	s.opened = 0
	return unix.Close(s.fd)
}
