package ipvs

// takes says whether an option of ipvsadm has a value.
type takes uint8

const (
	nothing takes = iota
	aValue
	optionalValue // the next word, unless it is an option
)

// option is a command line option of ipvsadm that has a part in rules.
type option struct {
	short, long string
	takes       takes
	commands    string // short names of the commands it goes with; empty: is a command
}

// String is the option as it is typed.
func (o *option) String() string {
	if o.short == "" {
		return "--" + o.long
	}
	return "-" + o.short
}

const (
	ofAny         = "AEDaed"
	ofService     = "AE"
	ofDestination = "ae"
)

var (
	optAdd    = &option{"A", "add-service", nothing, ""}
	optEdit   = &option{"E", "edit-service", nothing, ""}
	optDelete = &option{"D", "delete-service", nothing, ""}
	optClear  = &option{"C", "clear", nothing, ""}

	optAddServer    = &option{"a", "add-server", nothing, ""}
	optEditServer   = &option{"e", "edit-server", nothing, ""}
	optDeleteServer = &option{"d", "delete-server", nothing, ""}

	optTCP    = &option{"t", "tcp-service", aValue, ofAny}
	optUDP    = &option{"u", "udp-service", aValue, ofAny}
	optSCTP   = &option{"", "sctp-service", aValue, ofAny}
	optFWMark = &option{"f", "fwmark-service", aValue, ofAny}
	optIPv6   = &option{"6", "ipv6", nothing, ofAny}

	optScheduler  = &option{"s", "scheduler", aValue, ofService}
	optPersistent = &option{"p", "persistent", optionalValue, ofService}
	optNetmask    = &option{"M", "netmask", aValue, ofService}
	optEngine     = &option{"", "pe", aValue, ofService}
	optOnePacket  = &option{"o", "ops", nothing, ofService}
	// ipvsadm -S writes -b without a value for flag-3 of sh and mh, which
	// neither of them heeds.
	optSchedFlags = &option{"b", "sched-flags", optionalValue, ofService}

	optServer = &option{"r", "real-server", aValue, "aed"}
	optRoute  = &option{"g", "gatewaying", nothing, ofDestination}
	optTunnel = &option{"i", "ipip", nothing, ofDestination}
	optMasq   = &option{"m", "masquerading", nothing, ofDestination}
	optWeight = &option{"w", "weight", aValue, ofDestination}
	optUpper  = &option{"x", "u-threshold", aValue, ofDestination}
	optLower  = &option{"y", "l-threshold", aValue, ofDestination}

	optTunType    = &option{"", "tun-type", aValue, ofDestination}
	optTunPort    = &option{"", "tun-port", aValue, ofDestination}
	optTunNoCsum  = &option{"", "tun-nocsum", nothing, ofDestination}
	optTunCsum    = &option{"", "tun-csum", nothing, ofDestination}
	optTunRemCsum = &option{"", "tun-remcsum", nothing, ofDestination}
)

var allOptions = []*option{
	optAdd, optEdit, optDelete, optClear, optAddServer, optEditServer, optDeleteServer,
	optTCP, optUDP, optSCTP, optFWMark, optIPv6,
	optScheduler, optPersistent, optNetmask, optEngine, optOnePacket, optSchedFlags,
	optServer, optRoute, optTunnel, optMasq, optWeight, optUpper, optLower,
	optTunType, optTunPort, optTunNoCsum, optTunCsum, optTunRemCsum,
}

func optionByShort(name string) *option {
	for _, o := range allOptions {
		if o.short == name {
			return o
		}
	}
	return nil
}

func optionByLong(name string) *option {
	for _, o := range allOptions {
		if o.long == name {
			return o
		}
	}
	return nil
}
