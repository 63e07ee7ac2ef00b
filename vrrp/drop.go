package vrrp

// Drop is why a received packet was not accepted.
type Drop uint8

// The drops, the order of which is that of Stats.Dropped.
const (
	DropNone        Drop = iota // accepted
	DropHopLimit                // TTL or hop limit is not 255, or below MinHopLimit
	DropLength                  // too short, or addresses and length disagree
	DropVersion                 // not the configured version
	DropType                    // not an advertisement
	DropChecksum                //
	DropVRID                    // not our VRID
	DropCount                   // no address
	DropInterval                // interval 0; v2: not ours
	DropAddresses               // v2: not our addresses, and not from their owner
	DropAuthType                // another kind of authentication than ours
	DropAuthData                // wrong password, digest or key
	DropReplay                  // authentic, but old or seen before
	DropOwn                     // our own, looped back
	DropPeer                    // unicast configured, and the source is no peer
	DropDestination             // not sent to our group or to us
	numDrops
)
