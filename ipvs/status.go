package ipvs

import "time"

// ServiceStatus is a virtual service as the table has it.
type ServiceStatus struct {
	Service      // Destinations is nil: they are below, with their state
	Stats        Stats
	Destinations []DestinationStatus
}

// DestinationStatus is a real server as the table has it.
type DestinationStatus struct {
	Destination
	Active     int // connections in a state that counts as active (TCP: opening or established)
	Inactive   int // all other connections
	Persistent int // persistence templates, of clients that are remembered
	Stats      Stats
}

// Stats are the counters of a service or a destination since it was added or
// zeroed, and rates as the kernel estimates them. The kernel brings them up to
// date every two seconds. Rates are per second; where the kernel offers only
// 32-bit statistics (before 4.1) counters wrap at 2^32.
type Stats struct {
	Connections uint64
	InPackets   uint64
	OutPackets  uint64 // always zero but for ForwardMasq: answers pass by the director
	InBytes     uint64
	OutBytes    uint64

	ConnectionRate uint64
	InPacketRate   uint64
	OutPacketRate  uint64
	InByteRate     uint64
	OutByteRate    uint64
}

// Timeouts are the idle times after which the kernel forgets a connection, in
// whole seconds. In a call that sets them zero leaves one as it is.
type Timeouts struct {
	TCP    time.Duration // established
	TCPFin time.Duration // after a FIN
	UDP    time.Duration
}

// Info is what the kernel says of itself.
type Info struct {
	Version             Version
	ConnectionTableSize int // buckets of the connection hash table
}

// Version is the version of IPVS itself, 1.2.1 since 2003.
type Version struct{ Major, Minor, Patch uint8 }
