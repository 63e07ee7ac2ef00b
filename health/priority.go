package health

// Term is one condition of a VRRP priority, as a script is to keepalived's
// track_script.
type Term struct {
	// Weight is added to the priority while the check is Up if it is positive, and
	// taken from it while the check is Down if it is negative. 0 makes the router
	// faulty while the check is Down.
	Weight int
	State  State
}

// owner is the priority of the owner of the addresses (RFC 9568, section 6.1).
const owner = 255

// Priority is the VRRP priority that the base, 1 to 254, has under these
// conditions, and whether the router is faulty. The sum stays within 1 to 254; the
// base 255 of the owner of the addresses never changes, but may be faulty too. An
// Unknown check counts for nothing: it adds nothing, takes nothing, and is no
// fault.
//
// The weights of vrrp.Router.Track mean the same. Let negative weights or faults
// move an address: one of them must be more than the distance to the next router's
// priority, and with NoPreempt only a fault has any effect.
func Priority(base int, terms ...Term) (priority int, fault bool) {
	sum := int64(base)
	for _, t := range terms {
		w := min(max(int64(t.Weight), -1<<32), 1<<32) // cannot overflow the sum
		switch {
		case w > 0 && t.State == Up, w < 0 && t.State == Down:
			sum += w
		case w == 0 && t.State == Down:
			fault = true
		}
	}
	if base == owner {
		return owner, fault
	}
	return int(min(max(sum, 1), owner-1)), fault
}
