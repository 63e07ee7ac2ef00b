package ipvs

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ruleTable is the table that the rules read so far have made.
type ruleTable struct {
	entries []*ruleService // in the order of the rules; nil where one was deleted
	index   map[ServiceID]int
}

// ruleService is a service under construction.
type ruleService struct {
	service Service
	entries []*Destination // nil where one was deleted
	index   map[netip.AddrPort]int
}

// services are the services in the order of the rules.
func (t *ruleTable) services() []Service {
	out := make([]Service, 0, len(t.index))
	for _, e := range t.entries {
		if e == nil {
			continue
		}
		s := e.service
		for _, d := range e.entries {
			if d != nil {
				s.Destinations = append(s.Destinations, *d)
			}
		}
		out = append(out, s)
	}
	return out
}

// run executes one line.
func (t *ruleTable) run(line string) error {
	r, err := parseRule(line)
	if err != nil || r.command == nil {
		return err
	}
	if r.command == optClear {
		*t = ruleTable{}
		return nil
	}
	id, err := r.serviceID()
	if err != nil {
		return err
	}
	switch r.command {
	case optAdd, optEdit, optDelete:
		return t.runService(r, id)
	}
	i, ok := t.index[id]
	if !ok {
		return invalidf("no service %s: add it by -A in a line above", id)
	}
	return t.entries[i].runDestination(r)
}

// runService executes a line that concerns a service.
func (t *ruleTable) runService(r rule, id ServiceID) error {
	i, ok := t.index[id]
	switch {
	case ok && r.command == optAdd:
		return errDuplicateService
	case !ok && r.command != optAdd:
		return invalidf("no service %s: add it by -A in a line above", id)
	case r.command == optDelete:
		t.entries[i] = nil
		delete(t.index, id)
		return nil
	}
	s, err := r.service(id)
	if err != nil {
		return err
	}
	if ok {
		t.entries[i].service = s
		return nil
	}
	if t.index == nil {
		t.index = make(map[ServiceID]int)
	}
	t.index[id] = len(t.entries)
	t.entries = append(t.entries, &ruleService{service: s})
	return nil
}

// runDestination executes a line that concerns a destination.
func (e *ruleService) runDestination(r rule) error {
	id := e.service.ID
	value, ok := r.values[optServer]
	if !ok {
		return invalidf("%s without a real server: add -r", r.command)
	}
	addr, err := parseEndpoint(value, id.Addr.Port())
	if err != nil {
		return err
	}
	i, ok := e.index[addr]
	switch {
	case ok && r.command == optAddServer:
		return errDuplicateDestination
	case !ok && r.command != optAddServer:
		return invalidf("service %s has no real server %s: add it by -a in a line above", id, addr)
	case r.command == optDeleteServer:
		e.entries[i] = nil
		delete(e.index, addr)
		return nil
	}
	d, err := r.destination(id, addr)
	if err != nil {
		return err
	}
	if ok {
		e.entries[i] = &d
		return nil
	}
	if e.index == nil {
		e.index = make(map[netip.AddrPort]int)
	}
	e.index[addr] = len(e.entries)
	e.entries = append(e.entries, &d)
	return nil
}

// serviceID reads the options that name a service.
func (r rule) serviceID() (ServiceID, error) {
	var id ServiceID
	named := 0
	for _, o := range []*option{optTCP, optUDP, optSCTP, optFWMark} {
		value, ok := r.values[o]
		if !ok {
			continue
		}
		named++
		var err error
		switch o {
		case optFWMark:
			id.FWMark, err = parseFWMark(value)
		default:
			id.Protocol = map[*option]Protocol{optTCP: TCP, optUDP: UDP, optSCTP: SCTP}[o]
			id.Addr, err = parseEndpoint(value, 0)
		}
		if err != nil {
			return ServiceID{}, err
		}
	}
	if named != 1 {
		return ServiceID{}, invalidf("%d services: name one, by -t, -u, --sctp-service or -f", named)
	}
	if _, ok := r.values[optIPv6]; ok {
		if id.FWMark == 0 {
			return ServiceID{}, invalid("option -6 is for a firewall mark: drop it, the address tells the family")
		}
		id.Family = IPv6
	}
	return id, id.validate()
}

// parseFWMark takes negative numbers too: ipvsadm writes marks from 2147483648
// on as such.
func parseFWMark(s string) (uint32, error) {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil && n < 0 {
		return uint32(n), nil
	}
	n, err := parseNumber("firewall mark", s, 1, math.MaxUint32)
	return uint32(n), err
}

// service reads the options of a service.
func (r rule) service(id ServiceID) (Service, error) {
	s := Service{ID: id, Scheduler: WLC}
	if name, ok := r.values[optScheduler]; ok {
		if name == "" {
			return Service{}, invalid("option -s needs a value")
		}
		s.Scheduler = Scheduler(name)
	}
	if _, ok := r.values[optOnePacket]; ok {
		s.Flags |= OnePacket
	}
	flags, err := parseSchedFlags(s.Scheduler, r.values[optSchedFlags])
	if err != nil {
		return Service{}, err
	}
	s.Flags |= flags
	if s.Persistence, err = r.persistence(id); err != nil {
		return Service{}, err
	}
	if err := s.validateHead(); err != nil {
		return Service{}, err
	}
	return s.normalHead(), nil
}

func (r rule) persistence(id ServiceID) (Persistence, error) {
	p := Persistence{Engine: r.values[optEngine]}
	if value, ok := r.values[optPersistent]; ok {
		p.Timeout = defaultTimeout
		if value != "" {
			n, err := parseNumber("persistence timeout", value, 1, uint64(maxTimeout/time.Second))
			if err != nil {
				return Persistence{}, err
			}
			p.Timeout = time.Duration(n) * time.Second
		}
	}
	mask, ok := r.values[optNetmask]
	if !ok {
		return p, nil
	}
	if id.AddressFamily() == IPv6 {
		n, err := parseNumber("netmask", mask, 1, 128)
		p.Mask = int(n)
		return p, err
	}
	addr, err := netip.ParseAddr(mask)
	if err != nil || !addr.Is4() {
		return Persistence{}, invalidf("netmask %q: write it as 255.255.255.0", mask)
	}
	if p.Mask, ok = maskLength(addr); !ok {
		return Persistence{}, invalidf("netmask %s has holes: use one of leading ones", addr)
	}
	return p, nil
}

func parseSchedFlags(s Scheduler, value string) (Flags, error) {
	var flags Flags
	if value == "" {
		return 0, nil
	}
	for word := range strings.SplitSeq(value, ",") {
		i := slices.IndexFunc(flagNames, func(f flagName) bool { return f.name == word })
		if i < 0 {
			return 0, invalidf("unknown scheduler flag %q", word)
		}
		f := flagNames[i]
		if f.scheduler != "" && f.scheduler != s {
			return 0, invalidf("scheduler flag %s is for %s, this is %s", word, f.scheduler, s)
		}
		flags |= f.flag
	}
	return flags, nil
}

// destination reads the options of a destination.
func (r rule) destination(id ServiceID, addr netip.AddrPort) (Destination, error) {
	d := Destination{Addr: addr, Weight: 1}
	forwards := 0
	for _, f := range []struct {
		option  *option
		forward Forward
	}{{optRoute, ForwardRoute}, {optMasq, ForwardMasq}, {optTunnel, ForwardTunnel}} {
		if _, ok := r.values[f.option]; ok {
			d.Forward = f.forward
			forwards++
		}
	}
	if forwards > 1 {
		return Destination{}, invalid("more than one of -g, -i and -m: use one")
	}
	for _, n := range []struct {
		option *option
		high   uint64
		set    func(uint64)
	}{
		{optWeight, maxWeight, func(n uint64) { d.Weight = int(n) }},
		{optUpper, maxThreshold, func(n uint64) { d.Upper = uint32(n) }},
		{optLower, maxThreshold, func(n uint64) { d.Lower = uint32(n) }},
	} {
		if value, ok := r.values[n.option]; ok {
			number, err := parseNumber(n.option.long, value, 0, n.high)
			if err != nil {
				return Destination{}, err
			}
			n.set(number)
		}
	}
	var err error
	if d.Tunnel, err = r.tunnel(d.Forward); err != nil {
		return Destination{}, err
	}
	if err := d.validate(id); err != nil {
		return Destination{}, err
	}
	return d, nil
}

// tunnel reads the options of a tunnel.
func (r rule) tunnel(f Forward) (Tunnel, error) {
	var t Tunnel
	csums := 0
	for _, o := range []*option{optTunType, optTunPort, optTunNoCsum, optTunCsum, optTunRemCsum} {
		value, ok := r.values[o]
		if !ok {
			continue
		}
		if f != ForwardTunnel {
			return Tunnel{}, invalidf("option %s needs -i", o)
		}
		switch o {
		case optTunType:
			i := slices.Index(tunnelNames, value)
			if i < 0 {
				return Tunnel{}, invalidf("tunnel type %q: use ipip, gue or gre", value)
			}
			t.Type = TunnelType(i)
		case optTunPort:
			n, err := parseNumber("tunnel port", value, 1, math.MaxUint16)
			if err != nil {
				return Tunnel{}, err
			}
			t.Port = uint16(n)
		case optTunNoCsum:
			csums++
		case optTunCsum:
			t.Flags |= TunnelCsum
			csums++
		case optTunRemCsum:
			t.Flags |= TunnelRemCsum
			csums++
		}
	}
	if csums > 1 {
		return Tunnel{}, invalid("more than one of --tun-nocsum, --tun-csum and --tun-remcsum: use one")
	}
	return t, nil
}
