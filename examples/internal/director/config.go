package director

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/sysctl"
	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// A config is what the file asks for, in the words of the packages.
type config struct {
	kernel     []sysctl.Setting // that the dataplane takes
	services   []service
	addresses  []vip.Address
	interfaces []string     // that packets of the services come in by
	router     *vrrp.Config // nil: the addresses are held always
	sync       *syncFile    // nil: connections are not synchronised
}

// A service is a virtual service with all its real servers, and what decides
// which of them serve.
type service struct {
	ipvs.Service
	forward ipvs.Forward
	proxy   bool // real servers learn who the client is, by PROXY protocol
	policy  health.Policy
	check   *checkFile // nil: all of them are taken for well
	sorry   *ipvs.Destination
	drain   time.Duration
}

// name is the service in one word, as in tcp/192.0.2.1:80.
func (s service) name() string { return name(s.ID) }

func name(id ipvs.ServiceID) string {
	return strings.ToLower(id.Protocol.String()) + "/" + id.Addr.String()
}

// checkID names the check of a real server.
func checkID(id ipvs.ServiceID, real netip.AddrPort) string { return name(id) + " " + real.String() }

// config translates the file, and finds what is wrong with it before anything is
// changed.
func (f file) config() (cfg config, err error) {
	f.Interface = cmp.Or(f.Interface, "eth0")
	cfg.interfaces = []string{f.Interface}
	if f.Inside != "" {
		cfg.interfaces = append(cfg.interfaces, f.Inside)
	}
	if len(f.Services) == 0 {
		return config{}, at("services", errors.New("there is none"))
	}
	there := map[ipvs.ServiceID]int{}
	held := map[netip.Addr]bool{}
	for i, sf := range f.Services {
		where := fmt.Sprintf("services[%d]", i)
		s, err := sf.service()
		if err != nil {
			return config{}, at(where, err)
		}
		if twin, twice := there[s.ID]; twice {
			return config{}, at(where+".vip", fmt.Errorf("%s is services[%d] already", s.name(), twin))
		}
		there[s.ID] = i
		cfg.services = append(cfg.services, s)
		if a := s.ID.Addr.Addr(); !held[a] {
			held[a] = true
			cfg.addresses = append(cfg.addresses, vip.Address{Interface: f.Interface, Addr: a})
		}
	}
	if err := (vip.State{Addresses: cfg.addresses}).Validate(); err != nil {
		return config{}, err
	}
	if f.VRRP != nil {
		if cfg.router, err = f.router(cfg.addresses); err != nil {
			return config{}, at("vrrp", err)
		}
	}
	if f.Sync != nil {
		f.Sync.Interface = cmp.Or(f.Sync.Interface, f.Interface)
		cfg.sync = f.Sync
	}
	return cfg, nil
}

func (f serviceFile) service() (service, error) {
	s := service{
		Service: ipvs.Service{
			ID:          ipvs.ServiceID{Protocol: f.Protocol, Addr: f.VIP},
			Scheduler:   ipvs.Scheduler(f.Scheduler),
			Persistence: ipvs.Persistence{Timeout: time.Duration(f.Persistence)},
		},
		policy: health.Policy{
			Quorum: f.Quorum, Hysteresis: f.Hysteresis, Sorry: f.Sorry.IsValid(),
			FailOpen: f.FailOpen, Inhibit: f.Inhibit, SlowStart: time.Duration(f.SlowStart),
		},
		forward: ipvs.Forward(f.Forward),
		proxy:   f.Proxy,
		check:   f.Check,
		drain:   time.Duration(f.Drain),
	}
	if !f.VIP.IsValid() {
		return s, at("vip", errors.New("no virtual address"))
	}
	for i, r := range f.Real {
		where := fmt.Sprintf("real[%d]", i)
		if !r.Addr.IsValid() {
			return s, at(where, errors.New("no addr"))
		}
		s.Destinations = append(s.Destinations, f.destination(r.Addr, r.Weight))
		if err := s.Validate(); err != nil {
			return s, at(where, err)
		}
		if f.Check == nil {
			continue
		}
		if err := f.Check.validate(s, r.Addr); err != nil {
			return s, at("check", err)
		}
	}
	if f.Sorry.IsValid() {
		sorry := f.destination(f.Sorry, 1)
		s.sorry = &sorry
		with := s.Service
		with.Destinations = append(with.Destinations[:len(with.Destinations):len(with.Destinations)], sorry)
		if err := with.Validate(); err != nil {
			return s, at("sorry", err)
		}
	}
	if _, err := health.NewPool(s.policy); err != nil {
		return s, err
	}
	return s, s.Validate()
}

func (f serviceFile) destination(addr netip.AddrPort, weight int) ipvs.Destination {
	return ipvs.Destination{Addr: addr, Weight: weight, Forward: ipvs.Forward(f.Forward), Tunnel: ipvs.Tunnel(f.Tunnel)}
}

// router is the election: one virtual router holds all addresses, so that they
// move together.
func (f file) router(addresses []vip.Address) (*vrrp.Config, error) {
	v := f.VRRP
	cfg := &vrrp.Config{
		Interface: cmp.Or(v.Interface, f.Interface), VRID: v.VRID, Priority: v.Priority,
		Interval: time.Duration(v.Interval), NoPreempt: v.NoPreempt, Peers: v.Peers,
	}
	switch {
	case v.PreemptDelay != nil:
		cfg.PreemptDelay = time.Duration(*v.PreemptDelay)
	case f.Sync != nil && !v.NoPreempt:
		cfg.PreemptDelay = learnTime
	}
	for _, a := range addresses {
		cfg.Addresses = append(cfg.Addresses, a.Addr)
	}
	_, err := vrrp.New(*cfg)
	return cfg, err
}
