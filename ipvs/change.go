package ipvs

// ChangeOp is the kind of a Change.
type ChangeOp uint8

// A change is one command of IPVS.
const (
	AddService        ChangeOp = iota + 1 // Service without its destinations
	UpdateService                         // Service without its destinations
	RemoveService                         // Service.ID, with all destinations it has
	AddDestination                        // Service.ID, Destination
	UpdateDestination                     // Service.ID, Destination
	RemoveDestination                     // Service.ID, Destination.Addr
)

// Change is one step from the table that is to the one that is wanted. It
// carries the whole new state, since a kernel's update replaces every
// attribute.
type Change struct {
	Op          ChangeOp
	Service     Service     // in normal form; Destinations is always nil
	Destination Destination // in normal form; zero in a change of a service
}
