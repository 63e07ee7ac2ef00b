package userspace

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/lvskit/lvskit/ipvs"
)

// ErrSucceeded ends Run when another process has taken over by Config.Handover:
// there is nothing left to do for this one. Like http.ErrServerClosed it is no
// fault.
var ErrSucceeded = errors.New("a successor has taken over: end this program")

// A handover is a conversation on a unix socket, in packets (SOCK_SEQPACKET):
//
//	successor                      predecessor
//	Open    take ------------------>
//	        <--------------- estate, with the listening sockets; or refusal
//	Run     running --------------->  stops accepting, drains
//	        <----------------- final  its counters
//
// Until "running" the predecessor forwards as ever: a successor that ends before
// it leaves no trace. The sockets are shared, so what waits in their backlogs
// waits for either.
//
// A message is a head, in a packet of its own, and then as many packets of bytes
// and of descriptors as it announces.
type messageKind uint16

const (
	messageTake messageKind = iota + 1
	messageRefusal
	messageEstate
	messageRunning
	messageFinal
)

const (
	handoverMagic   = "lvs-heir"
	handoverVersion = 1
	headSize        = len(handoverMagic) + 2 + 2 + 4 + 4

	messageMost     = 64 << 20 // bytes of a message
	descriptorsMost = 1 << 16  // of a message
	packetMost      = 32 << 10 // bytes of a packet
	rightsMost      = 253      // descriptors of a packet (SCM_MAX_FD, include/net/scm.h)
	handoverPathMax = 107 - len(handoverSuffix)
	handoverSuffix  = ".new" // of the socket until it is listening
)

// head announces a message.
type head struct {
	kind        messageKind
	size        int // bytes
	descriptors int
}

func (h head) append(b []byte) []byte {
	b = append(b, handoverMagic...)
	b = binary.BigEndian.AppendUint16(b, handoverVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(h.kind))
	b = binary.BigEndian.AppendUint32(b, uint32(h.size))
	return binary.BigEndian.AppendUint32(b, uint32(h.descriptors))
}

// parseHead reads a head, and refuses what nobody can mean.
func parseHead(b []byte) (head, error) {
	if len(b) < len(handoverMagic)+2 || string(b[:len(handoverMagic)]) != handoverMagic {
		return head{}, errors.New("it does not speak the handover of lvskit")
	}
	b = b[len(handoverMagic):]
	if v := binary.BigEndian.Uint16(b); v != handoverVersion {
		return head{}, fmt.Errorf("it speaks version %d of the handover, this is version %d", v, handoverVersion)
	}
	if len(b) != headSize-len(handoverMagic) {
		return head{}, errors.New("a head of the wrong size")
	}
	size, descriptors := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	if size > messageMost || descriptors > descriptorsMost {
		return head{}, fmt.Errorf("a message of %d bytes and %d descriptors is too large", size, descriptors)
	}
	return head{messageKind(binary.BigEndian.Uint16(b[2:])), int(size), int(descriptors)}, nil
}

// estate is the table as it goes to a successor, in JSON: a later version may
// add to it.
type estate struct {
	Timeouts ipvs.Timeouts
	Services []estateService
}

type estateService struct {
	Service          ipvs.Service // its destinations: the newest first
	Stats            tally
	DestinationStats []tally        // of Service.Destinations
	Sockets          int            // how many descriptors are its listening sockets: in order
	Clients          []estateClient `json:",omitempty"`
}

// parseEstate reads an estate that comes with that many descriptors.
func parseEstate(b []byte, descriptors int) (*estate, error) {
	s := new(estate)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("an unreadable table: %w", err)
	}
	if min(s.Timeouts.TCP, s.Timeouts.TCPFin, s.Timeouts.UDP) < 0 {
		return nil, errors.New("a table with a timeout below zero")
	}
	known := map[ipvs.ServiceID]bool{}
	for _, svc := range s.Services {
		if err := svc.Service.Validate(); err != nil {
			return nil, fmt.Errorf("a table that cannot be: %w", err)
		}
		id := svc.Service.ID
		switch {
		case known[id]:
			return nil, fmt.Errorf("a table that has %s twice", id)
		case len(svc.DestinationStats) != len(svc.Service.Destinations):
			return nil, fmt.Errorf("a table with %d counters for the %d real servers of %s", len(svc.DestinationStats), len(svc.Service.Destinations), id)
		case svc.Sockets < 0 || svc.Sockets > descriptors:
			return nil, fmt.Errorf("a table with %d sockets of %s", svc.Sockets, id)
		}
		for _, c := range svc.Clients {
			if err := c.check(&svc.Service); err != nil {
				return nil, err
			}
		}
		known[id] = true
		descriptors -= svc.Sockets
	}
	if descriptors != 0 {
		return nil, fmt.Errorf("%d sockets of no service", descriptors)
	}
	return s, nil
}

// estate is the table as it is. Engine.mu is held.
func (e *Engine) estate() *estate {
	s := &estate{Timeouts: e.timeouts, Services: make([]estateService, 0, len(e.services))}
	now, clients := e.now(), 0
	for _, svc := range e.services {
		one := estateService{Service: svc.Service, Stats: svc.stats.reading(), Clients: svc.clients(now, clientsMost-clients)}
		clients += len(one.Clients)
		for _, d := range svc.dests {
			one.Service.Destinations = append(one.Service.Destinations, d.Destination)
			one.DestinationStats = append(one.DestinationStats, d.stats.reading())
		}
		s.Services = append(s.Services, one)
	}
	slices.SortFunc(s.Services, func(a, b estateService) int { return strings.Compare(a.Service.ID.String(), b.Service.ID.String()) })
	return s
}

// settle makes the table of an estate. It calls before in front of each service,
// which gives the plane its sockets. Engine.mu is held.
func (e *Engine) settle(s *estate, before func(*estateService)) error {
	e.timeouts = s.Timeouts
	for _, one := range s.Services {
		before(&one)
		alone := one.Service
		alone.Destinations = nil
		if err := e.run(ipvs.Change{Op: ipvs.AddService, Service: alone}); err != nil {
			return fmt.Errorf("take over %s: %w", one.Service.ID, err)
		}
		for _, d := range slices.Backward(one.Service.Destinations) {
			if err := e.run(ipvs.Change{Op: ipvs.AddDestination, Service: alone, Destination: d}); err != nil {
				return fmt.Errorf("take over %s -> %s: %w", one.Service.ID, d.Addr, err)
			}
		}
	}
	e.catchUp(s, nil)
	return nil
}

// catchUp adds what the counters of s have more than those of before, which is
// nil for none, and the clients. Engine.mu is held.
func (e *Engine) catchUp(s, before *estate) {
	now := e.now()
	for _, one := range s.Services {
		if svc := e.services[one.Service.ID]; svc != nil {
			svc.remember(&one, now)
		}
	}
	old := before.tallies()
	for of, t := range s.tallies() {
		svc := e.services[of.service]
		if svc == nil {
			continue
		}
		if !of.destination.IsValid() {
			svc.stats.add(t.minus(old[of]))
		} else if d := svc.find(of.destination); d != nil {
			d.stats.add(t.minus(old[of]))
		}
	}
}

// counted is what a tally is of: a service, or one of its destinations.
type counted struct {
	service     ipvs.ServiceID
	destination netip.AddrPort
}

func (s *estate) tallies() map[counted]tally {
	all := map[counted]tally{}
	if s == nil {
		return all
	}
	for _, one := range s.Services {
		all[counted{service: one.Service.ID}] = one.Stats
		for i, d := range one.Service.Destinations {
			all[counted{one.Service.ID, d.Addr}] = one.DestinationStats[i]
		}
	}
	return all
}

// reading is what counters show: what they have counted since they were zeroed.
func (c *counters) reading() tally {
	t := c.tally()
	for i := range t {
		t[i] -= c.zeroed[i]
	}
	return t
}

// add counts what another has forwarded. It is not in the rates.
func (c *counters) add(t tally) {
	c.connections.Add(t[0])
	for i, n := range []*atomic.Uint64{&c.inPackets, &c.outPackets, &c.inBytes, &c.outBytes} {
		n.Add(t[i+1])
	}
	for i := range t {
		c.rates.last[i] += t[i]
	}
}

// minus is what has been counted since before. Counters that are behind were
// zeroed since.
func (t tally) minus(before tally) tally {
	for i := range t {
		if t[i] >= before[i] {
			t[i] -= before[i]
		}
	}
	return t
}

// checkHandover refuses a path that cannot be that of a socket.
func checkHandover(path string) error {
	switch {
	case strings.HasPrefix(path, "@") || strings.ContainsRune(path, 0):
		return fmt.Errorf("handover socket %q: an abstract socket has no owner and no mode: use the path of a file: %w", path, fs.ErrInvalid)
	case len(path) > handoverPathMax:
		return fmt.Errorf("handover socket %q: the path has %d bytes, the most are %d: %w", path, len(path), handoverPathMax, fs.ErrInvalid)
	}
	return nil
}
