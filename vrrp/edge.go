package vrrp

import (
	"context"
	"net/netip"
	"time"
)

// edge is the system as the loop needs it: the kernel of Linux (edge_linux.go),
// or whatever a test puts there. All but wake belongs to the loop's goroutine.
type edge interface {
	// now is the time since boot, time asleep included.
	now() time.Duration
	wall() time.Time
	// wait returns when a packet can be received, when wake was called, or at a
	// time: the first of them. It may return early.
	wait(until time.Duration)
	// receive takes the next packet, if there is one; d is valid until the next call.
	receive(d *datagram) bool
	// send sends one advertisement.
	send(o *outgoing) error
	// wake ends wait, or the next wait; any goroutine may call it.
	wake()
	// want says what the loop wants to hear, and which interfaces to watch. It
	// does not wait; what was found comes by loop.linksChanged.
	want(wants []want)
}

// system is an edge with the life that Run gives it.
type system interface {
	edge
	// watch finds out how the links are, opens the ports that are wanted on them,
	// and tells the loop, until ctx ends. tell waits until the loop has done f, and
	// is false if it has ended.
	watch(ctx context.Context, tell func(f func(*loop)) bool)
	// close gives everything back, after watch.
	close() error
}

// never is a time that does not come.
const never = time.Duration(1<<63 - 1)

// A port is where packets of one protocol go out and come in: one interface and
// family, for all Routers of a Run.
type port struct {
	ifname   string
	six      bool
	protocol uint8
}

// A want is what one Router wants of a port.
type want struct {
	port  port
	vrid  uint8
	group netip.Addr    // to join; invalid for none
	frame bool          // it sends from a virtual MAC
	pace  time.Duration // its interval
}

// A datagram is a received packet.
type datagram struct {
	port    port
	header  header
	payload []byte        // what follows the IP header
	age     time.Duration // how long ago it came, where the edge has let it wait
}

// outgoing is a packet to be sent.
type outgoing struct {
	port     port
	src, dst netip.Addr
	vrid     uint8
	frame    bool // from the virtual MAC of vrid
	payload  []byte
}

// A link is what the kernel tells of an interface.
type link struct {
	exists  bool
	index   int
	up      bool // set up
	carrier bool // and connected
	addrs   []linkAddr
}

// A linkAddr is an address of an interface.
type linkAddr struct {
	addr      netip.Addr
	bits      int
	global    bool // the scope, of IPv4
	secondary bool // IPv4
	tentative bool // IPv6: not to be used yet, or found to be a duplicate
	temporary bool // IPv6: for privacy, or deprecated
	virtual   bool // marked by a program that adds virtual addresses
}
