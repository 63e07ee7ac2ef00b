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

var changeNames = []string{
	AddService:        "add service",
	UpdateService:     "update service",
	RemoveService:     "remove service",
	AddDestination:    "add destination",
	UpdateDestination: "update destination",
	RemoveDestination: "remove destination",
}

// String is the operation in words, such as "add destination": the OpError.Op
// of a change that the kernel refused.
func (op ChangeOp) String() string { return name("ChangeOp", changeNames, uint8(op)) }

// MarshalText is String; a value without a name is an error.
func (op ChangeOp) MarshalText() ([]byte, error) { return marshal("change", changeNames, uint8(op)) }

// UnmarshalText takes the words of String in any case.
func (op *ChangeOp) UnmarshalText(b []byte) error { return unmarshal("change", changeNames, b, op) }

// Change is one step from the table that is to the one that is wanted. It
// carries the whole new state, since an update by the kernel replaces every
// attribute.
type Change struct {
	Op          ChangeOp
	Service     Service     // normal form; Destinations is always nil
	Destination Destination // normal form; zero in a change of a service
}

// String is the change as a person types it:
//
//	ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
//
// ipvsadm takes such a line, with these exceptions that the kernel has and
// ipvsadm has not: weights above 65535, and ForwardLocal, which is written -g as
// ipvsadm itself does.
func (c Change) String() string {
	b := make([]byte, 0, 128)
	b = append(b, "ipvsadm "...)
	switch c.Op {
	case AddService:
		b = appendService(append(b, "-A "...), c.Service.normalHead())
	case UpdateService:
		b = appendService(append(b, "-E "...), c.Service.normalHead())
	case RemoveService:
		b = appendID(append(b, "-D "...), c.Service.ID)
	case AddDestination:
		b = appendDestination(append(b, "-a "...), c.Service.ID, c.Destination, false)
	case UpdateDestination:
		b = appendDestination(append(b, "-e "...), c.Service.ID, c.Destination, false)
	case RemoveDestination:
		b = appendID(append(b, "-d "...), c.Service.ID)
		b = appendAddr(append(b, " -r "...), c.Destination.Addr)
	default:
		return c.Op.String()
	}
	return string(b)
}
