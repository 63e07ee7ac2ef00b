package lab

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Config is the configuration of a lab. The zero value is ready to use.
type Config struct {
	// Logger receives what the lab does, at debug level; nil discards it.
	Logger *slog.Logger
}

// LinkConfig says how a host is connected to a switch.
type LinkConfig struct {
	// Name is the interface's name on the host, at most 15 bytes; "" is the
	// first of eth0, eth1, ... that is free.
	Name string
	// MTU is in bytes, 68 to 65535; 0 is 1500. Below 1280 a link has no IPv6.
	MTU int
	// MAC is the interface's unicast address of 6 bytes; nil makes one of the
	// numbers of host and link, the same in every run.
	MAC net.HardwareAddr
	// Addrs are the interface's addresses, usable when Connect returns.
	Addrs []netip.Prefix
	// Offload leaves checksums and segmentation to the device: faster, but a
	// capture shows unfinished checksums and frames above the MTU.
	Offload bool
}

const maxIfName = 15 // IFNAMSIZ, include/uapi/linux/if.h, without the final zero

func (c LinkConfig) check() error {
	switch {
	case len(c.Name) > maxIfName:
		return fmt.Errorf("interface name %q is longer than %d bytes: %w", c.Name, maxIfName, fs.ErrInvalid)
	case c.Name == "." || c.Name == ".." || strings.ContainsAny(c.Name, "/:% \t\n"):
		return fmt.Errorf("interface name %q: %w", c.Name, fs.ErrInvalid)
	case c.MTU != 0 && (c.MTU < 68 || c.MTU > 65535):
		return fmt.Errorf("mtu %d is not within 68 to 65535: %w", c.MTU, fs.ErrInvalid)
	case c.MAC != nil && (len(c.MAC) != 6 || c.MAC[0]&1 != 0):
		return fmt.Errorf("mac %s is no unicast address of 6 bytes: %w", c.MAC, fs.ErrInvalid)
	}
	for _, p := range c.Addrs {
		if !p.IsValid() {
			return fmt.Errorf("address %s: %w", p, fs.ErrInvalid)
		}
	}
	return nil
}

// Impairment is what a link does to frames, in each direction. The zero value
// is a link without fault.
type Impairment struct {
	// Loss is the probability, 0 to 1, that a frame is lost.
	Loss float64
	// Delay is how long a frame takes; Jitter how far the time varies from it.
	Delay, Jitter time.Duration
	// Duplicate is the probability, 0 to 1, that a frame comes twice.
	Duplicate float64
}

func (i Impairment) check() error {
	if !(i.Loss >= 0 && i.Loss <= 1 && i.Duplicate >= 0 && i.Duplicate <= 1) {
		return fmt.Errorf("loss %v, duplicate %v: not within 0 to 1: %w", i.Loss, i.Duplicate, fs.ErrInvalid)
	}
	if i.Delay < 0 || i.Jitter < 0 || i.Jitter > i.Delay {
		return fmt.Errorf("delay %v, jitter %v: %w", i.Delay, i.Jitter, fs.ErrInvalid)
	}
	return nil
}

// Frame is one Ethernet frame that a Capture saw.
type Frame struct {
	// Time is when the kernel saw the frame, of the wall clock.
	Time time.Time
	// FromHost is true for what the host sent, false for what it receives.
	FromHost bool
	// Data is the frame from its destination address on, without checksum.
	Data []byte
}
