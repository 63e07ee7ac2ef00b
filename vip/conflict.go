package vip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// ConflictPolicy says what Run does when another host claims an address that has
// been announced (RFC 5227 section 2.4).
type ConflictPolicy uint8

const (
	// Defend tells it by an Event and, if the address is still held a second later,
	// announces it once, at most every 10 s, so that two hosts do not fight without
	// end. In that second an Active that VRRP has just relieved lets go.
	Defend ConflictPolicy = iota
	// Observe only tells it.
	Observe
	// Ignore does not listen at all.
	Ignore
)

// String is the name of the policy.
func (p ConflictPolicy) String() string {
	switch p {
	case Defend:
		return "defend"
	case Observe:
		return "observe"
	case Ignore:
		return "ignore"
	}
	return "policy " + strconv.Itoa(int(p))
}

// defendInterval is RFC 5227's DEFEND_INTERVAL: between two defences of an
// address, and between two events about the same host.
const defendInterval = 10 * time.Second

// defendDelay is the second of Defend.
const defendDelay = time.Second

// lookSpacing is the least time between two looks at the kernel for claims, and
// mostClaims the number of claims remembered, so that a flood costs little.
const (
	lookSpacing = 50 * time.Millisecond
	mostClaims  = 1024
)

// claimed is a frame by which a host says that it has an address, or is about to
// take it.
type claimed struct {
	addr  netip.Addr
	mac   string // 6 bytes
	index int    // of the interface that heard it
	probe bool   // the host asks first
}

func (c claimed) hardware() net.HardwareAddr { return net.HardwareAddr(c.mac) }

// parseClaim reads a frame of ARP or a neighbour advertisement.
func parseClaim(frame []byte) (c claimed, ok bool) {
	if len(frame) < etherHead {
		return c, false
	}
	switch body := frame[etherHead:]; binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		if len(body) < 28 || !bytes.Equal(body[:6], []byte{0, 1, 8, 0, 6, 4}) {
			return c, false
		}
		c.mac, c.addr = string(body[8:14]), netip.AddrFrom4([4]byte(body[14:18]))
		if c.addr.IsUnspecified() {
			c.addr, c.probe = netip.AddrFrom4([4]byte(body[24:28])), true
		}
		return c, true
	case etherIPv6:
		if len(body) < ipv6Head+24 || body[6] != protoICMPv6 || body[7] != hopLimit || body[ipv6Head] != typeAdvertise {
			return c, false
		}
		c.mac, c.addr = string(frame[6:12]), netip.AddrFrom16([16]byte(body[ipv6Head+8:ipv6Head+24]))
		if option := body[ipv6Head+24:]; len(option) >= 8 && option[0] == optionTarget && option[1] == 1 {
			c.mac = string(option[2:8])
		}
		return c, true
	}
	return c, false
}

// concerns tells whether the claim of another host is about an address on a link:
// the one that heard it. What our own interfaces say is none, nor is what says the
// link's own MAC, be it ours or that of a VRRP peer with the same virtual MAC.
func (c claimed) concerns(link *Link, links []Link) bool {
	if link == nil || link.Index != c.index {
		return false
	}
	for _, l := range links {
		if string(l.MAC) == c.mac {
			return false
		}
	}
	return true
}

func (c claimed) err() error { return fmt.Errorf("%v has it: %w", c.hardware(), ErrConflict) }

// conflicts remembers the claims of others. It is pure: the time is an argument.
type conflicts struct {
	next     time.Time // of a look at the kernel
	told     map[claimed]time.Time
	defended map[netip.Addr]time.Time
}

func newConflicts() *conflicts {
	return &conflicts{told: map[claimed]time.Time{}, defended: map[netip.Addr]time.Time{}}
}

// worth tells whether a claim is worth a look at the kernel.
func (c *conflicts) worth(now time.Time, claim claimed) bool {
	if told, ok := c.told[claim]; ok && now.Sub(told) < defendInterval || now.Before(c.next) {
		return false
	}
	c.next = now.Add(lookSpacing)
	return true
}

// real notes a claim that is a conflict, and tells whether to defend the address.
func (c *conflicts) real(now time.Time, claim claimed) (defend bool) {
	if len(c.told) >= mostClaims {
		clear(c.told)
	}
	c.told[claim] = now
	if last, ok := c.defended[claim.addr]; ok && now.Sub(last) < defendInterval {
		return false
	}
	if len(c.defended) >= mostClaims {
		clear(c.defended)
	}
	c.defended[claim.addr] = now
	return true
}
