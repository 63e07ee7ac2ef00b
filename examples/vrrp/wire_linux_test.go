package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// advert is an advertisement on the wire, as an observer without our codec reads it.
type advert struct {
	at       time.Time
	from     *node
	source   netip.Addr
	vrid     uint8
	priority uint8
}

// claimed is an address that a node has announced.
type claimed struct {
	at   time.Time
	addr netip.Addr
}

const (
	typeIPv4    = 0x0800
	typeARP     = 0x0806
	typeIPv6    = 0x86dd
	protoAH     = 51
	protoVRRP   = 112
	protoICMPv6 = 58

	neighbourAdvert = 136  // type
	solicited       = 0x40 // flag
)

// payload is what an IP packet carries.
func payload(frame []byte) (proto byte, data []byte) {
	if len(frame) < 14+20 {
		return 0, nil
	}
	ip := frame[14:]
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == typeIPv4:
		return ip[9], ip[min(int(ip[0]&15)*4, len(ip)):]
	case kind == typeIPv6 && len(ip) >= 40:
		return ip[6], ip[40:]
	}
	return 0, nil
}

// message is the VRRP message in a frame, also inside an authentication header.
func message(frame []byte) []byte {
	proto, data := payload(frame)
	if proto == protoAH && len(data) > 24 && data[0] == protoVRRP {
		return data[24:]
	}
	if proto != protoVRRP || len(data) < 8 {
		return nil
	}
	return data
}

// claim is which address a frame announces unasked: gratuitous ARP of either form,
// or an unsolicited neighbour advertisement.
func claim(frame []byte) netip.Addr {
	if len(frame) >= 42 && binary.BigEndian.Uint16(frame[12:]) == typeARP {
		sender, target := netip.AddrFrom4([4]byte(frame[28:32])), netip.AddrFrom4([4]byte(frame[38:42]))
		if sender == target {
			return sender
		}
		return netip.Addr{}
	}
	proto, icmp := payload(frame)
	if proto != protoICMPv6 || len(icmp) < 24 || icmp[0] != neighbourAdvert || icmp[4]&solicited != 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom16([16]byte(icmp[8:24]))
}

// says is what is captured of a node.
func says(frame []byte) bool { return message(frame) != nil || claim(frame).IsValid() }

// answer is which address a frame says to be at which MAC, if it is an ARP reply
// or neighbour advertisement that somebody has asked for.
func answer(frame []byte) (addr netip.Addr, mac net.HardwareAddr) {
	if len(frame) >= 42 && binary.BigEndian.Uint16(frame[12:]) == typeARP {
		arp := frame[14:]
		sender, target := netip.AddrFrom4([4]byte(arp[14:18])), netip.AddrFrom4([4]byte(arp[24:28]))
		if binary.BigEndian.Uint16(arp[6:]) != 2 || sender == target {
			return netip.Addr{}, nil
		}
		return sender, slices.Clone(arp[8:14])
	}
	proto, icmp := payload(frame)
	if proto != protoICMPv6 || len(icmp) < 32 || icmp[0] != neighbourAdvert || icmp[4]&solicited == 0 || icmp[24] != 2 {
		return netip.Addr{}, nil
	}
	return netip.AddrFrom16([16]byte(icmp[8:24])), slices.Clone(icmp[26:32])
}

func isAnswer(frame []byte) bool {
	a, _ := answer(frame)
	return a.IsValid()
}

// source is where an IP packet comes from.
func source(frame []byte) netip.Addr {
	ip := frame[14:]
	if binary.BigEndian.Uint16(frame[12:]) == typeIPv4 {
		return netip.AddrFrom4([4]byte(ip[12:16]))
	}
	return netip.AddrFrom16([16]byte(ip[8:24]))
}

// update takes in what the node has sent since the last call.
func (n *node) update() {
	frames := n.wire.Frames()
	for _, f := range frames[n.decoded:] {
		if addr := claim(f.Data); f.FromHost && addr.IsValid() {
			n.claims = append(n.claims, claimed{f.Time, addr})
		}
		if msg := message(f.Data); f.FromHost && msg != nil {
			n.sent = append(n.sent, advert{at: f.Time, from: n, source: source(f.Data), vrid: msg[1], priority: msg[2]})
		}
	}
	n.decoded = len(frames)
}

// adverts are those of all nodes for the virtual router from a moment on, in
// order of time.
func (r *rig) adverts(since time.Time) (all []advert) {
	for _, n := range r.nodes {
		n.update()
		for _, a := range n.sent {
			if a.vrid == r.vrid && !a.at.Before(since) {
				all = append(all, a)
			}
		}
	}
	slices.SortStableFunc(all, func(x, y advert) int { return x.at.Compare(y.at) })
	return all
}

// inRow is how many advertisements make a sole master: another one would have
// sent two meanwhile.
const inRow = 3

// sole waits until n alone advertises, from a moment on.
func (r *rig) sole(t testing.TB, n *node, since time.Time) {
	t.Helper()
	await(t, n.name+" alone is master", 10*r.mode.every()+10*time.Second, func() bool {
		return r.isSole(n, since)
	})
}

func (r *rig) isSole(n *node, since time.Time) bool {
	all := r.adverts(since)
	if len(all) < inRow {
		return false
	}
	for _, a := range all[len(all)-inRow:] {
		if a.from != n || a.priority == 0 {
			return false
		}
	}
	return true
}

// gap is the time between the last advertisement of the old master and the first
// of the new one, since a moment; and the priority of that last one.
func (r *rig) gap(t testing.TB, old, next *node, since time.Time) (time.Duration, uint8) {
	t.Helper()
	all := r.adverts(time.Time{})
	first := slices.IndexFunc(all, func(a advert) bool { return a.from == next && a.at.After(since) })
	if first < 0 {
		t.Fatalf("%s has sent nothing", next.name)
	}
	for i := first - 1; i >= 0; i-- {
		if all[i].from == old {
			return all[first].at.Sub(all[i].at), all[i].priority
		}
	}
	t.Fatalf("%s has sent nothing before", old.name)
	return 0, 0
}

// claims is how often a node has announced the rig's addresses since a moment.
func (r *rig) claims(n *node, since time.Time) (times int) {
	n.update()
	for _, c := range n.claims {
		if c.at.After(since) && slices.Contains(r.mode.vips, c.addr.String()) {
			times++
		}
	}
	return times
}

// sourceOf is what a node advertises from.
func (r *rig) sourceOf(t testing.TB, n *node) netip.Addr {
	t.Helper()
	n.update()
	if len(n.sent) == 0 {
		t.Fatalf("%s has sent nothing", n.name)
	}
	return n.sent[len(n.sent)-1].source
}
