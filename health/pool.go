package health

import "time"

// Member is a real server as a Policy sees it.
type Member struct {
	ID     string
	Weight int    // configured, 0 or more
	State  State  // of its checks
	Change Weight // wanted by them
}

// Policy says what the states of real servers mean for a pool. The zero Policy
// serves those that are Up, and removes the others.
type Policy struct {
	// Quorum is the sum of the weights of live members from which on the pool is
	// up; 0 means 1. It is up from Quorum+Hysteresis on, and down below
	// Quorum-Hysteresis or without any live member (keepalived: quorum).
	Quorum, Hysteresis int
	// Sorry says that there is a sorry server: while the pool is down, it serves
	// instead of the members. Without it those that live go on.
	Sorry bool
	// FailOpen is the share of members below which all serve, whatever their
	// state: when most are down it is rather the checks that are wrong, and the rest
	// would drown. 0 is never, 0.5 is Envoy's panic threshold, the most is 1. A sorry server, if there is one,
	// comes first... (helper decides and documents)
	FailOpen float64
	// Inhibit keeps failed members with weight 0, instead of removing them: their
	// connections go on (keepalived: inhibit_on_failure).
	Inhibit bool
	// MaxEjected is the most, as a share of the members, that may be taken out at
	// once; those that failed last stay. 0 means 1: all.
	MaxEjected float64
	// SlowStart is the time over which the weight of a member that has come
	// back grows from a tenth to its full one. It takes weights of 10 and more to
	// be smooth.
	SlowStart time.Duration
}

// Pool applies a Policy. It is pure: it remembers, but has no clock of its own.
type Pool struct{}

// NewPool checks the policy.
func NewPool(p Policy) (*Pool, error) { return &Pool{}, nil }

// Decision is what is to be served now.
type Decision struct {
	Serve []Share // members in the order given; those that are not here are removed
	Up    bool    // quorum
	Sorry bool    // the sorry server serves, and Serve is empty, or all have weight 0 with Inhibit
	Open  bool    // fail-open: states are ignored
	// Next is when weights change by themselves (slow start); zero if not at all.
	Next time.Time
}

// Share is a member that is in the table.
type Share struct {
	ID     string
	Weight int
}

// Decide says what is to be served as of now. Members that are not given any more are forgotten.
func (p *Pool) Decide(now time.Time, members []Member) Decision { return Decision{} }

// Term is one condition of a VRRP priority, as of a keepalived track_script.
type Term struct {
	// Weight is added while the check is Up if it is positive, and taken away
	// while it is Down if it is negative. 0 makes the router faulty while it is Down.
	Weight int
	State  State
}

// Priority is the VRRP priority (1 to 254) that the base has under these conditions, and whether
// the router is faulty. Unknown counts for nothing.
func Priority(base int, terms ...Term) (priority int, fault bool) { return base, false }
