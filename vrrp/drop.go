package vrrp

// Drop is why a received packet was not accepted. Where more than one reason
// applies it is the first of: DropLength (no header), DropVRID, DropDestination,
// DropPeer, DropHopLimit; then what is wrong with the message whatever we expect
// (its version unknown, DropType, DropCount, DropLength, DropChecksum), and then
// what differs from our configuration (DropVersion, authentication,
// DropInterval, DropAddresses).
type Drop uint8

// The drops, the order of which is that of Stats.Dropped.
const (
	// DropNone: accepted.
	DropNone Drop = iota
	// DropHopLimit: its TTL or hop limit is not 255, so it was forwarded; by unicast:
	// it is below MinHopLimit.
	DropHopLimit
	// DropLength: it is too short, or its length is not that of its addresses.
	DropLength
	// DropVersion: it is not of the configured version of VRRP.
	DropVersion
	// DropType: it is no advertisement.
	DropType
	// DropChecksum: its checksum is wrong in all forms.
	DropChecksum
	// DropVRID: it is of another virtual router.
	DropVRID
	// DropCount: it has no address.
	DropCount
	// DropInterval: its interval is 0, or, VRRPv2, not ours (RFC 3768, section 7.1).
	DropInterval
	// DropAddresses: VRRPv2: its addresses are not ours, and it is not from their
	// owner (RFC 3768, section 7.1). The order does not matter.
	DropAddresses
	// DropAuthType: it has another kind of authentication than ours, or none.
	DropAuthType
	// DropAuthData: its password or digest is wrong, or we do not have its key.
	DropAuthData
	// DropReplay: it is authentic, but was seen before.
	DropReplay
	// DropOwn: our own, looped back.
	DropOwn
	// DropPeer: unicast is configured, and the source is no peer.
	DropPeer
	// DropDestination: it was not sent to our group; unicast configured: it was sent
	// to a group.
	DropDestination
	// DropClock: it is authentic, but its time is further from ours than HMAC.Window:
	// a clock is wrong, or it was recorded and is sent again.
	DropClock
	numDrops
)

var dropNames = [numDrops]string{
	"none", "hop limit", "length", "version", "type", "checksum", "vrid", "count", "interval", "addresses",
	"authentication type", "authentication data", "replay", "own", "peer", "destination", "clock",
}

// String is the reason in a word or two.
func (d Drop) String() string { return name(dropNames[:], "drop", d) }

// MarshalText is String.
func (d Drop) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
