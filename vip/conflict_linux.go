package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
)

// ear is a packet socket that hears the claims of all interfaces.
type ear struct {
	file *os.File
	conn syscall.RawConn
}

// What the kernel lets through: ARP as it comes by the socket's protocol; of
// IPv6 only neighbour advertisements, as a director has much of it.
var (
	hearARP           = []bpf.Instruction{bpf.RetConstant{Val: 64}}
	hearAdvertisement = []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherHead + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoICMPv6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: etherHead + ipv6Head, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeAdvertise, SkipTrue: 1},
		bpf.RetConstant{Val: 256},
		bpf.RetConstant{Val: 0},
	}
)

// listenClaims opens both.
func listenClaims(path string) (ears []*ear, err error) {
	err = netns.Do(path, func() error {
		for _, e := range []struct {
			protocol uint16
			program  []bpf.Instruction
		}{{etherARP, hearARP}, {etherIPv6, hearAdvertisement}} {
			ear, err := openEar(e.protocol, e.program)
			if err != nil {
				return fmt.Errorf("listen for conflicts: %w", err)
			}
			ears = append(ears, ear)
		}
		return nil
	})
	if err != nil {
		closeEars(ears)
	}
	return ears, err
}

func closeEars(ears []*ear) {
	for _, e := range ears {
		e.file.Close()
	}
}

func openEar(protocol uint16, program []bpf.Instruction) (*ear, error) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // deaf until it is bound
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("it takes CAP_NET_RAW in this network namespace: %w", err)
	}
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "packet")
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	if err == nil {
		wire := binary.BigEndian.AppendUint16(nil, protocol)
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(wire)})
	}
	var conn syscall.RawConn
	if err == nil {
		conn, err = file.SyscallConn()
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &ear{file, conn}, nil
}

// hear calls fn for each claim of others until the socket is closed or its
// deadline has passed.
func (e *ear) hear(fn func(claimed)) error {
	buf := make([]byte, 256)
	for {
		var n int
		var from unix.Sockaddr
		var err error
		if cerr := e.conn.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(err, unix.EAGAIN)
		}); cerr != nil {
			return cerr
		}
		if err != nil {
			continue // an interface went down: the socket hears the others
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if c, ok := parseClaim(buf[:n]); ok {
			c.index = ll.Ifindex
			fn(c)
		}
	}
}

// watchConflicts tells of others who claim what has been announced, from the
// first announcement on until ctx ends.
func (m *Manager) watchConflicts(ctx context.Context, box *mailbox) {
	if m.cfg.OnConflict == Ignore {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-m.herald.begun:
	}
	ears, err := listenClaims(m.cfg.NetNS)
	if err != nil {
		m.cfg.Logger.Warn("address conflicts will not be seen", "err", err)
		return
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards known
	known := newConflicts()
	for _, e := range ears {
		wg.Go(func() {
			err := e.hear(func(c claimed) {
				mu.Lock()
				defer mu.Unlock()
				if !c.probe && m.concerns(c.addr) && known.worth(time.Now(), c) {
					m.judge(known, c, box)
				}
			})
			if ctx.Err() == nil {
				m.cfg.Logger.Warn("address conflicts are not seen any more", "err", err)
			}
		})
	}
	<-ctx.Done()
	closeEars(ears)
	wg.Wait()
}

// judge looks whether a claim is a conflict, and what to do about it.
func (m *Manager) judge(known *conflicts, c claimed, box *mailbox) {
	for _, t := range m.herald.announced(c.addr) {
		var have Snapshot
		err := m.quick(func(k *kernel) error {
			err := k.table()
			have = k.have
			return err
		})
		link, there := have.find(t.addr)
		if err != nil || !there || !c.concerns(link, have.Links) {
			continue
		}
		defend := known.real(time.Now(), c)
		m.mu.Lock()
		m.tell([]Event{{Kind: Conflict, Object: t.addr.object(), Address: t.addr, MAC: c.hardware(), Err: c.err()}}, box)
		m.mu.Unlock()
		if defend && m.cfg.OnConflict == Defend {
			m.herald.defend(time.Now().Add(defendDelay), t)
		}
	}
}

// probes is how often a probe is repeated while it waits for answers.
const probes = 3

// probe asks the neighbours whether they have addresses that are to be added, and
// returns what was claimed. It changes nothing.
func (m *Manager) probe(ctx context.Context, have Snapshot, addrs []Address) (map[addressKey]claimed, error) {
	if addrs = slices.DeleteFunc(addrs, func(a Address) bool {
		link := have.link(a.Interface)
		return link == nil || link.MAC == nil || !link.Up || !link.Carrier
	}); len(addrs) == 0 {
		return nil, nil
	}
	ears, err := listenClaims(m.cfg.NetNS)
	if err != nil {
		return nil, err
	}
	defer closeEars(ears)
	end := time.Now().Add(m.cfg.Probe)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards found
	found := map[addressKey]claimed{}
	for _, e := range ears {
		if err := e.file.SetReadDeadline(end); err != nil {
			return nil, err
		}
		wg.Go(func() {
			_ = e.hear(func(c claimed) {
				mu.Lock()
				defer mu.Unlock()
				for _, a := range addrs {
					if a.Addr == c.addr && c.concerns(have.link(a.Interface), have.Links) {
						found[a.key()] = c
					}
				}
			}) // it ends by its deadline
		})
	}
	err = m.ask(ctx, have, addrs)
	if err != nil {
		closeEars(ears)
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(found), errors.Join(err, ctx.Err())
}

// ask sends the questions, and waits a part of the time after each.
func (m *Manager) ask(ctx context.Context, have Snapshot, addrs []Address) error {
	var out sender
	defer out.close()
	for range probes {
		next := time.After(m.cfg.Probe / (probes + 1))
		for i, a := range addrs {
			link := have.link(a.Interface)
			frame, err := question(link.MAC, a.Addr)
			if err == nil {
				err = out.send(m.cfg.NetNS, link.Index, frame)
			}
			if err != nil {
				return opError("probe", a.object(), err)
			}
			if i%framesPerMilli == framesPerMilli-1 {
				time.Sleep(time.Millisecond)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
	}
	return nil
}

// question is the frame of a probe: who has addr, from nobody.
func question(mac net.HardwareAddr, addr netip.Addr) ([]byte, error) {
	if addr.Is6() {
		group := netip.MustParseAddr("ff02::1:ff00:0").As16()
		low := addr.As16()
		copy(group[13:], low[13:])
		return discovery(mac, netip.IPv6Unspecified(), netip.AddrFrom16(group), typeSolicit, 0, addr, nil), nil
	}
	return arpFrame(arp.OperationRequest, ethernet.Broadcast, mac, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), addr)
}
