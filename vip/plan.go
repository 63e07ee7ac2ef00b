package vip

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
)

// Plan returns the changes that lead from have to want, in the order in which
// they must be made: what keeps ARP silent before the first address comes,
// devices before the addresses on them, and what is given back last.
//
// What cannot be had is left out and told in the error, which joins an OpError
// for each: fs.ErrNotExist for an interface that is not there, ErrForeign for
// what is there and not ours. The rest is planned nevertheless, except that no
// address is added where ARP cannot be suppressed, or packets to it not be refused. An invalid State has no plan.
func Plan(have Snapshot, want State) ([]Change, error) {
	changes, errs := plan(have, want, claims{})
	return changes, join(errs)
}

func join(errs []*OpError) error {
	all := make([]error, len(errs))
	for i, err := range errs {
		all[i] = err
	}
	return errors.Join(all...)
}

// plan is Plan beside other sets: what they claim is neither made nor removed.
func plan(have Snapshot, want State, others claims) ([]Change, []*OpError) {
	if err := want.Validate(); err != nil {
		var op *OpError
		errors.As(err, &op)
		return nil, []*OpError{op}
	}
	p := planner{have: &have, want: want.normal(), others: others, fresh: map[string]bool{}, kept: map[settingKey]bool{}}
	p.filter()
	p.suppress()
	p.tunnels()
	p.addresses()
	p.give()
	var all []Change
	for _, step := range p.steps {
		all = append(all, step...)
	}
	for i := range all {
		all[i].mark = have.Mark
	}
	return all, p.errs
}

// The steps of a plan, in their order.
const (
	stepFilter = iota
	stepQuiet
	stepRemake
	stepTunnel
	stepTunnelSetting
	stepAdd
	stepDelete
	stepUntunnel
	stepUnfilter
	stepRestore
	steps
)

type settingKey struct {
	iface string
	key   Key
}

type planner struct {
	have   *Snapshot
	want   State
	others claims
	steps  [steps][]Change
	errs   []*OpError
	loud   bool                // ARP cannot be suppressed: no address
	bare   []netip.Addr        // packets to them cannot be refused: none of these
	fresh  map[string]bool     // devices that will be new, and so without addresses
	kept   map[settingKey]bool // settings of ours that stay
}

func (p *planner) do(step int, c Change) { p.steps[step] = append(p.steps[step], c) }

func (p *planner) fail(op, object string, err error) {
	p.errs = append(p.errs, &OpError{Op: op, Object: object, Err: err})
}

func noInterface(name string) error {
	return fmt.Errorf("no interface %s: %w", name, fs.ErrNotExist)
}

// suppress plans the ARP settings of a real server, and below virtual MACs.
func (p *planner) suppress() {
	for _, name := range p.want.quiet() {
		conf := p.have.conf(name)
		if conf == nil {
			p.loud = true
			p.fail("suppress ARP on", name, noInterface(name))
			continue
		}
		for _, key := range []Key{ARPIgnore, ARPAnnounce} {
			p.kept[settingKey{name, key}] = true
			value := conf[key]
			if !quiet(key, value) {
				value = quietValue[key]
				p.set(stepQuiet, Setting{Interface: name, Key: key, Value: value, Was: conf[key]})
			}
			if all := p.allAfter(key); !quiet(key, max(value, all)) {
				p.loud = true
				p.fail("suppress ARP on", name, fmt.Errorf("net/ipv4/conf/all/%s=%d is in force on every interface: set it to 0", key, all))
			}
		}
	}
}

// allAfter is the setting of "all" once the plan so far is carried out.
func (p *planner) allAfter(key Key) int {
	for _, c := range p.steps[stepQuiet] {
		if c.Setting.Interface == allInterfaces && c.Setting.Key == key {
			return c.Setting.Value
		}
	}
	return p.have.All[key]
}

// set plans a changed setting. What we have changed before goes back to what it
// was before the first time.
func (p *planner) set(step int, s Setting) {
	if was, ok := p.have.original(s.Interface, s.Key); ok {
		s.Was = was.Was
	}
	p.kept[settingKey{s.Interface, s.Key}] = true
	p.do(step, Change{Op: ChangeSetting, Setting: s})
}

// tunnels plans devices, virtual MACs among them, and the ports in front of them.
func (p *planner) tunnels() {
	ports := map[GUE]bool{}
	wanted := map[string]bool{}
	for _, t := range p.want.Tunnels {
		wanted[t.Name] = true
		if !t.Existing && t.GUEPort != 0 && !ports[t.gue()] {
			ports[t.gue()] = true
			if !slices.Contains(p.have.Ports, t.gue()) {
				p.do(stepTunnel, Change{Op: OpenPort, Port: t.gue()})
			}
		}
		p.tunnel(t)
	}
	for _, v := range p.want.VirtualMACs {
		wanted[v.Name] = true
		p.virtualMAC(v)
	}
	for _, port := range p.have.Ports {
		if !ports[port] && !p.others.ports[port] {
			p.do(stepUntunnel, Change{Op: ClosePort, Port: port})
		}
	}
	for _, link := range p.have.Links {
		if link.Ours && !wanted[link.Name] && !p.others.devices[link.Name] {
			p.do(stepUntunnel, Change{Op: DeleteTunnel, Tunnel: Tunnel{Name: link.Name}})
		}
	}
}

func (p *planner) tunnel(t Tunnel) {
	link := p.have.link(t.Name)
	switch {
	case t.Existing && link == nil:
		p.fail("use", t.object(), noInterface(t.Name))
		return
	case t.Existing && !link.Up:
		p.fail("use", t.object(), fmt.Errorf("it is down: ip link set %s up", t.Name))
		return
	case !t.Existing && link != nil && !link.Ours:
		p.fail("add", t.object(), ErrForeign)
		return
	case !t.Existing && (link == nil || link.Alias != t.alias(p.have.Mark) || !link.Up):
		if link != nil {
			p.do(stepRemake, Change{Op: DeleteTunnel, Tunnel: Tunnel{Name: t.Name}})
		}
		p.do(stepTunnel, Change{Op: AddTunnel, Tunnel: t})
		p.fresh[t.Name] = true
	}
	p.loose(t, link)
}

// virtualMAC plans a macvlan. A new one comes with its settings.
func (p *planner) virtualMAC(v VirtualMAC) {
	parent, link := p.have.link(v.Parent), p.have.link(v.Name)
	switch {
	case parent == nil:
		p.fail("add", v.object(), noInterface(v.Parent))
		return
	case parent.MAC == nil:
		p.fail("add", v.object(), invalid("%s has no MAC, and so no virtual one", v.Parent))
		return
	case p.have.All[ARPFilter] != 0 && !v.IPv6:
		p.fail("add", v.object(), fmt.Errorf("net/ipv4/conf/all/arp_filter=%d is in force on every interface and would keep this one silent: set it to 0", p.have.All[ARPFilter]))
		return
	case link != nil && !link.Ours:
		p.fail("add", v.object(), ErrForeign)
		return
	}
	for key := range keys {
		p.kept[settingKey{v.Name, key}] = true
	}
	if link != nil && link.Parent == parent.Index && bytes.Equal(link.MAC, v.MAC()) && link.Up {
		for _, s := range virtualSettings(v.Name, link.Conf, p.have.All) {
			p.set(stepTunnelSetting, s)
		}
		return
	}
	if link != nil {
		p.do(stepRemake, Change{Op: DeleteTunnel, Tunnel: Tunnel{Name: v.Name}})
	}
	p.fresh[v.Name] = true
	p.do(stepTunnel, Change{Op: AddVirtualMAC, VirtualMAC: v, settings: virtualSettings(v.Name, p.have.Default, p.have.All)})
}

// loose plans rp_filter of a tunnel device: 1 would drop clients, whose
// packets come out of a device that no route to them leads by. The virtual
// address on the device makes 2 pass them.
func (p *planner) loose(t Tunnel, link *Link) {
	conf := p.have.Default
	if link != nil && !p.fresh[t.Name] {
		conf = link.Conf
	}
	if max(conf[RPFilter], p.have.All[RPFilter]) == 1 {
		p.set(stepTunnelSetting, Setting{Interface: t.Name, Key: RPFilter, Value: 2, Was: conf[RPFilter]})
	}
	p.kept[settingKey{t.Name, RPFilter}] = true
}

// addresses plans the addresses: foreign ones are in the way, ours are kept,
// remade or removed.
func (p *planner) addresses() {
	wanted := map[addressKey]bool{}
	there := make(map[addressKey][]Present, len(p.have.Addresses))
	for _, h := range p.have.Addresses {
		there[h.key()] = append(there[h.key()], h)
	}
	for _, a := range p.want.Addresses {
		wanted[a.key()] = true
		p.address(a, there[a.key()])
	}
	for _, h := range p.have.Addresses {
		if h.Ours && !wanted[h.key()] && !p.others.addresses[h.key()] && !p.gone(h.Interface) {
			p.remove(stepDelete, h)
		}
	}
}

func (p *planner) address(a Address, same []Present) {
	if p.have.link(a.Interface) == nil && !p.fresh[a.Interface] {
		p.fail("add address", a.object(), noInterface(a.Interface))
		return
	}
	var stale []Present
	there := false
	for _, h := range same {
		switch {
		case p.fresh[a.Interface]:
		case !h.Ours:
			p.fail("add address", a.object(), foreign(h))
			return
		case h.satisfies(a) && !there:
			there = true
		default:
			stale = append(stale, h)
		}
	}
	for _, h := range stale {
		p.remove(stepRemake, h)
	}
	if !there && !p.loud && !slices.Contains(p.bare, a.Addr) {
		p.do(stepAdd, Change{Op: AddAddress, Address: a})
	}
}

func foreign(h Present) error {
	if h.Proto != 0 {
		return fmt.Errorf("%v is %w (proto %d)", h.Prefix(), ErrForeign, h.Proto)
	}
	return fmt.Errorf("%v is %w", h.Prefix(), ErrForeign)
}

// gone tells whether the device is removed, and its addresses with it.
func (p *planner) gone(iface string) bool {
	is := func(c Change) bool { return c.Op == DeleteTunnel && c.Tunnel.Name == iface }
	return slices.ContainsFunc(p.steps[stepUntunnel], is) || slices.ContainsFunc(p.steps[stepRemake], is)
}

// remove plans the removal of an address. If others of its subnet would go with
// it, the kernel is told to promote them for as long as that takes.
func (p *planner) remove(step int, h Present) {
	promote := Setting{Interface: h.Interface, Key: PromoteSecondaries, Value: 1}
	drops := !h.Secondary && p.have.All[PromoteSecondaries] == 0 && p.have.conf(h.Interface)[PromoteSecondaries] == 0 &&
		slices.ContainsFunc(p.have.Addresses, func(o Present) bool { return subnet(h, o) })
	if key := (settingKey{h.Interface, PromoteSecondaries}); drops && !p.kept[key] {
		p.set(step, promote)
		p.do(stepRestore, Change{Op: RestoreSetting, Setting: Setting{Interface: h.Interface, Key: PromoteSecondaries, Value: 0, Was: 1}})
	}
	p.do(step, Change{Op: DeleteAddress, Address: h.Address})
}

// give plans the return of settings that are no longer needed.
func (p *planner) give() {
	for _, s := range p.have.Originals {
		if key := (settingKey{s.Interface, s.Key}); !p.kept[key] && !p.others.settings[key] {
			p.do(stepRestore, Change{Op: RestoreSetting, Setting: Setting{Interface: s.Interface, Key: s.Key, Value: s.Was, Was: s.Value}})
		}
	}
}
