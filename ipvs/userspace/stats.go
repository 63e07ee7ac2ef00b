package userspace

import "sync/atomic"

// counters are what a service or a destination has forwarded.
type counters struct {
	connections                              atomic.Uint64
	inPackets, outPackets, inBytes, outBytes atomic.Uint64
}
