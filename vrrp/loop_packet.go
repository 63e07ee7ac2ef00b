package vrrp

import (
	"net/netip"
	"slices"
)

// offsets in a message.
const (
	vridOff  = 1
	ahHeader = 24 // RFC 2402 with 96 bits of authentication data
)

// received gives a packet to the instances that it is for.
func (l *loop) received(d *datagram) {
	if d.port != l.lastPort { // packets of a port come together
		l.lastPort, l.lastHeard = d.port, l.heard[d.port]
	}
	table := l.lastHeard
	if table == nil {
		return
	}
	off := vridOff
	if d.header.protocol == protocolAH {
		off += ahHeader
	}
	if len(d.payload) > off {
		l.hear(table[d.payload[off]], d)
		return
	}
	for _, who := range table { // too short to tell
		l.hear(who, d)
	}
}

func (l *loop) hear(who listeners, d *datagram) {
	if i := who.first; i != nil {
		l.advert(i, d)
	}
	if i := who.second; i != nil {
		l.beat(i, d)
	}
}

// advert is an advertisement that came by the interface.
func (l *loop) advert(i *instance, d *datagram) {
	drop := DropOwn
	if d.header.src != i.source {
		d.header.second = false
		drop = i.w.decode(&l.packet, d.header, d.payload, l.wall)
	}
	if drop == DropOwn {
		i.stats.Dropped[drop]++
		return
	}
	p := &l.packet
	l.events(i, i.o.packet(l.clock, d.header, p, drop))
	if drop != DropNone {
		i.stats.Dropped[drop]++
		l.notify.dropped(i, d.header.src, drop)
		if i.started && rivalrous(drop) && p.Priority > 0 {
			l.step(i, input{kind: inRival, from: d.header.src, priority: p.Priority, interval: p.Interval})
		}
		return
	}
	i.stats.Received++
	if p.Priority == 0 {
		i.stats.ReceivedZero++
	}
	if p.Version == V3 && d.header.src.Is4() {
		if p.Checksum == MessageOnly {
			i.stats.MessageOnly++
		} else {
			i.stats.WithPseudoHeader++
		}
	}
	if i.started {
		l.stepAt(i, l.clock-d.age, input{kind: inAdvert, from: d.header.src, local: i.source, priority: p.Priority, interval: p.Interval})
	}
}

// rivalrous tells whether an advertisement that was dropped shows another Active
// router of our virtual router, configured so that the two do not understand each
// other.
func rivalrous(d Drop) bool {
	switch d {
	case DropVersion, DropInterval, DropAddresses, DropAuthType, DropAuthData, DropClock:
		return true
	}
	return false
}

// beat is an advertisement that came by the second path.
func (l *loop) beat(i *instance, d *datagram) {
	if d.header.src == i.source2 {
		return
	}
	d.header.second = true
	drop := i.w2.decode(&l.packet, d.header, d.payload, l.wall)
	if drop != DropNone {
		i.stats.Dropped[drop]++
		l.notify.dropped(i, d.header.src, drop)
		return
	}
	i.stats.BySecondPath++
	if i.started {
		l.stepAt(i, l.clock-d.age, input{kind: inBeat, from: d.header.src, local: i.source2, priority: l.packet.Priority, interval: l.packet.Interval})
	}
}

// advertise sends an advertisement to all by both paths.
func (l *loop) advertise(i *instance, priority uint8) {
	c := i.cfg
	l.out = outgoing{port: i.port(), src: i.source, vrid: c.VRID, frame: c.VirtualMAC && len(c.Peers) == 0}
	if len(c.Peers) == 0 {
		l.send(i, i.w, c.Multicast, priority)
	}
	for _, peer := range c.Peers {
		l.send(i, i.w, peer, priority)
	}
	if c.SecondPath.Interface == "" {
		return
	}
	l.out = outgoing{port: i.port2(), src: i.source2, vrid: c.VRID}
	for _, peer := range c.SecondPath.Peers {
		l.send(i, i.w2, peer, priority)
	}
}

// send sends l.out, completed, to dst.
func (l *loop) send(i *instance, w *wire, dst netip.Addr, priority uint8) {
	o := &l.out
	if !o.src.IsValid() {
		return
	}
	c := i.cfg
	l.packet = Packet{
		Version: c.Version, VRID: c.VRID, Priority: priority, Interval: c.Interval, Checksum: c.Checksum,
		Addresses: append(l.packet.Addresses[:0], c.Addresses...),
	}
	o.dst = dst
	l.buf = w.encode(l.buf[:0], &l.packet, o.src, dst, l.edge.wall())
	o.payload = l.buf
	if err := l.edge.send(o); err != nil {
		i.stats.SendErrors++
		if i.sendErr == nil {
			l.notify.sendFailed(i, dst, err)
		}
		i.sendErr = err
		return
	}
	i.sendErr = nil
	i.stats.Sent++
	if priority == 0 {
		i.stats.SentZero++
	}
}

// events hands on what the observer noticed.
func (l *loop) events(i *instance, events []Event) {
	for _, e := range events {
		l.event(i, e)
	}
}

// event completes an event and hands it on.
func (l *loop) event(i *instance, e Event) {
	e.Time, e.Router, e.VRID = l.edge.wall(), i.cfg.Name, i.cfg.VRID
	switch e.Kind {
	case Transition:
		i.transition(&e)
	case TwoActive:
		i.stats.TwoActive++
	case Vetoed:
		e.Err = i.asked.err
	}
	if e.Peer.Addr.IsValid() && e.Peer.Addresses == nil {
		peers := i.o.peers()
		if n := slices.IndexFunc(peers, func(p Peer) bool { return p.Addr == e.Peer.Addr }); n >= 0 {
			e.Peer.Version, e.Peer.Addresses = peers[n].Version, slices.Clone(peers[n].Addresses)
		}
	}
	l.notify.push(i, e)
}

// transition counts a change of the state.
func (i *instance) transition(e *Event) {
	i.since = e.Time
	switch e.To {
	case Active:
		i.stats.BecameActive++
	case Backup:
		i.stats.BecameBackup++
	case Fault:
		i.stats.BecameFault++
	}
	if e.Reason == ReasonStarved && e.From == Active {
		i.stats.Starved++
	}
}
