package vrrp

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
)

// noticesMost is how many notices may wait for a slow OnEvent or Logger.
const noticesMost = 1024

// notifier hands events to the Routers' OnEvent and Logger, in order, on one
// goroutine. The loop never waits for it.
type notifier struct {
	wake chan struct{}

	mu     sync.Mutex // guards all below
	queue  []*notice
	lost   map[*instance]uint64
	closed bool
}

// A notice is an event, or something that only the log hears of.
type notice struct {
	i       *instance
	event   Event // unless drop or err is set
	drop    Drop
	err     error
	peer    netip.Addr
	cfg     *Config
	onlyLog bool
}

func newNotifier() *notifier {
	return &notifier{wake: make(chan struct{}, 1), lost: map[*instance]uint64{}}
}

// push queues an event.
func (n *notifier) push(i *instance, e Event) { n.add(&notice{i: i, cfg: i.cfg, event: e}) }

// dropped queues the drop of a packet, if somebody reads of such.
func (n *notifier) dropped(i *instance, from netip.Addr, d Drop) {
	if i.cfg.Logger.Enabled(context.Background(), slog.LevelDebug) {
		n.add(&notice{i: i, cfg: i.cfg, drop: d, peer: from, onlyLog: true})
	}
}

// sendFailed queues the first of several failures to send.
func (n *notifier) sendFailed(i *instance, to netip.Addr, err error) {
	n.add(&notice{i: i, cfg: i.cfg, err: err, peer: to, onlyLog: true})
}

func (n *notifier) add(one *notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	if len(n.queue) >= noticesMost {
		if one.onlyLog {
			return
		}
		n.shrink()
	}
	n.queue = append(n.queue, one)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// shrink drops the oldest notice that is no transition. If there is none, the
// oldest transition is merged with the next of the same Router.
func (n *notifier) shrink() {
	at := slices.IndexFunc(n.queue, func(o *notice) bool { return o.onlyLog || o.event.Kind != Transition })
	if at < 0 {
		at = 0
		for _, o := range n.queue[1:] {
			if o.i == n.queue[0].i {
				o.event.From = n.queue[0].event.From
				break
			}
		}
	}
	if o := n.queue[at]; !o.onlyLog {
		n.lost[o.i]++
	}
	n.queue = slices.Delete(n.queue, at, at+1)
}

// lostOf is how many events of an instance were merged or dropped.
func (n *notifier) lostOf(i *instance) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost[i]
}

// close lets run end when it has delivered what is queued.
func (n *notifier) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	close(n.wake)
}

// run delivers until close.
func (n *notifier) run() {
	var batch []*notice
	for range n.wake {
		for batch = n.take(batch[:0]); len(batch) > 0; batch = n.take(batch[:0]) {
			for _, one := range batch {
				one.deliver()
			}
			clear(batch)
		}
	}
}

func (n *notifier) take(into []*notice) []*notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := min(len(n.queue), 16) // few, as what is taken cannot be merged any more
	into = append(into, n.queue[:k]...)
	n.queue = slices.Delete(n.queue, 0, k)
	return into
}

func (o *notice) deliver() {
	o.log()
	if !o.onlyLog && o.cfg.OnEvent != nil {
		o.cfg.OnEvent(o.event)
	}
}

// log writes what a person who watches wants to know: transitions at Info, what
// is wrong at Warn, packets at Debug.
func (o *notice) log() {
	c, e, ctx := o.cfg, &o.event, context.Background()
	log := c.Logger.With("instance", c.Name, "vrid", c.VRID, "interface", c.Interface)
	peer := slog.Any("peer", e.Peer.Addr)
	switch {
	case o.drop != DropNone:
		log.Debug("advertisement dropped", "peer", o.peer, "reason", o.drop)
	case o.onlyLog:
		log.Warn("advertisement could not be sent", "peer", o.peer, "err", o.err)
	case e.Kind == Transition:
		log.Info("state changed", "state_from", e.From, "state_to", e.To, "reason", e.Reason)
	case e.Kind == Healed || e.Kind == PrimaryPathBack:
		log.Info(e.Kind.String(), peer)
	case e.Kind == PeerDiffers:
		log.Warn(e.Kind.String(), peer, "mismatch", e.Mismatch, "addresses", e.Peer.Addresses)
	case e.Kind == TwoActive:
		log.Warn(e.Kind.String(), peer, "priority", e.Peer.Priority)
	case e.Kind == ForeignCluster:
		log.Warn(e.Kind.String(), peer, "addresses", e.Peer.Addresses)
	case e.Kind == LateTimer:
		log.Warn(e.Kind.String(), "late", e.Late)
	case e.Err != nil:
		log.Warn(e.Kind.String(), "err", e.Err)
	case !e.Peer.Addr.IsValid():
		log.Warn(e.Kind.String())
	default:
		log.LogAttrs(ctx, slog.LevelWarn, e.Kind.String(), peer)
	}
}
