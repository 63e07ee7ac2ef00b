package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/lvskit/lvskit/nat"
	"github.com/lvskit/lvskit/sysctl"
)

// config is the flags.
type config struct {
	inside           []netip.Prefix
	insideInterface  string
	outsideInterface string
	snat             []netip.Addr
	masquerade       bool
	random           bool
	publish          []nat.Rule
	hairpin          bool
	file             string
	backend          nat.Backend
	conntrackMax     int64
	name             string
	runDir           string
	metrics          string
	plan             bool
	keep             bool
	remove           bool
}

func parse(args []string, usage io.Writer) (cfg config, err error) {
	f := flag.NewFlagSet("gateway", flag.ContinueOnError)
	f.SetOutput(usage)
	f.Func("inside", "inside `NETWORK`, as 192.168.160.0/24; give one for each", func(s string) error {
		p, err := parseNetwork(s)
		cfg.inside = append(cfg.inside, p)
		return err
	})
	f.StringVar(&cfg.insideInterface, "inside-interface", "", "`INTERFACE` towards the inside, which must forward too; empty is any")
	f.StringVar(&cfg.outsideInterface, "outside-interface", "", "`INTERFACE` towards the outside")
	f.Func("snat", "outside `ADDRESS` that what comes from inside gets when it leaves by -outside-interface; one a family", func(s string) error {
		a, err := netip.ParseAddr(s)
		cfg.snat = append(cfg.snat, a)
		return err
	})
	f.BoolVar(&cfg.masquerade, "masquerade", false, "inside networks without a -snat get the address that -outside-interface has at the time")
	f.BoolVar(&cfg.random, "random", false, "-snat and -masquerade take source ports that cannot be foretold")
	f.Func("publish", "`[NAME=]ADDRESS:PORT=SERVER[:PORT][/PROTOCOL]`: what comes for the outside ADDRESS (* is any, at -outside-interface) and PORT, or range of ports, goes to SERVER; PROTOCOL is tcp unless given. One for each", func(s string) error {
		r, err := parsePublish(s)
		cfg.publish = append(cfg.publish, r)
		return err
	})
	f.BoolVar(&cfg.hairpin, "hairpin", false, "published ports are for machines of -inside, too")
	f.StringVar(&cfg.file, "rules", "", "`FILE` of more rules, one a line; SIGHUP reads it again")
	f.TextVar(&cfg.backend, "backend", nat.Auto, "auto, nftables, iptables, iptables-nft or iptables-legacy")
	f.Int64Var(&cfg.conntrackMax, "conntrack-max", 0, "track at least so `many` connections at once; 0 leaves the limit as it is")
	f.StringVar(&cfg.name, "name", "gateway", "`NAME` of the table of nftables, and in capitals of the chains of iptables")
	f.StringVar(&cfg.runDir, "run", "/run/lvskit", "`FOLDER` of the notes that outlive a SIGKILL")
	f.StringVar(&cfg.metrics, "metrics", "", "`ADDRESS` to serve Prometheus' /metrics at, as 127.0.0.1:9110")
	f.BoolVar(&cfg.plan, "plan", false, "print what would be changed, and change nothing")
	f.BoolVar(&cfg.keep, "keep", false, "leave rules and settings in place at the end; the next run takes them over")
	f.BoolVar(&cfg.remove, "remove", false, "remove what a run with -keep, or a killed one, has left, and end")
	if err := f.Parse(args); err != nil {
		return cfg, err
	}
	if f.NArg() > 0 {
		return cfg, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	cfg.runDir, err = filepath.Abs(cfg.runDir)
	return cfg, errors.Join(err, cfg.check())
}

// parseNetwork wants the network, not an address in it.
func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err == nil && p != p.Masked() {
		err = fmt.Errorf("it is an address in a network: did you mean %s?", p.Masked())
	}
	return p, err
}

// check refuses flags that do not go together.
func (c config) check() error {
	switch {
	case c.conntrackMax < 0:
		return fmt.Errorf("-conntrack-max %d: use a positive number", c.conntrackMax)
	case c.remove:
		return nil
	case len(c.inside) == 0 && len(c.publish) == 0 && c.file == "":
		return errors.New("nothing to do: give -inside NETWORK with -snat ADDRESS or -masquerade, -publish or -rules")
	case (c.masquerade || len(c.snat) > 0) && len(c.inside) == 0:
		return errors.New("-snat and -masquerade are for what comes from inside: give -inside NETWORK")
	case (c.masquerade || len(c.snat) > 0) && c.outsideInterface == "":
		return errors.New("-snat and -masquerade are for what leaves by one interface: give -outside-interface")
	case c.random && !c.masquerade && len(c.snat) == 0:
		return errors.New("-random is for -snat and -masquerade: give one of them")
	case c.hairpin && len(c.publish) == 0:
		return errors.New("-hairpin is for published ports: give -publish")
	}
	for i, a := range c.snat {
		if same := func(b netip.Addr) bool { return b.Is4() == a.Is4() }; slices.ContainsFunc(c.snat[:i], same) {
			return fmt.Errorf("-snat %s: its family has an address already", a)
		} else if !slices.ContainsFunc(c.inside, func(p netip.Prefix) bool { return same(p.Addr()) }) {
			return fmt.Errorf("-snat %s: no -inside network is of its family", a)
		}
	}
	_, err := c.rules(nil)
	return err
}

// rules are those of the flags, with those of the file, which are more special, in
// front of the general ones.
func (c config) rules(file []nat.Rule) ([]nat.Rule, error) {
	var rules []nat.Rule
	for _, r := range c.publish {
		if !r.Destination.IsValid() {
			if r.In = c.outsideInterface; r.In == "" {
				return nil, errors.New("-publish *: it is for what comes by one interface: give -outside-interface")
			}
		}
		if c.hairpin {
			i := slices.IndexFunc(c.inside, func(p netip.Prefix) bool { return p.Contains(r.To) })
			switch {
			case i < 0:
				return nil, fmt.Errorf("-hairpin: the server %s of -publish is in no -inside network", r.To)
			case r.In != "":
				return nil, errors.New("-hairpin: machines inside cannot tell what -publish * is for: give the address")
			}
			r.Hairpin = c.inside[i]
		}
		rules = append(rules, r)
	}
	rules = append(rules, file...)
	for _, p := range c.inside {
		i := slices.IndexFunc(c.snat, func(a netip.Addr) bool { return a.Is4() == p.Addr().Is4() })
		r := nat.Rule{Action: nat.Masquerade, Source: p, Out: c.outsideInterface, Random: c.random}
		switch {
		case i >= 0:
			r.Action, r.To = nat.SNAT, c.snat[i]
		case !c.masquerade && !c.hairpin:
			return nil, fmt.Errorf("-inside %s: nothing says what goes out from there: give -snat with an address of its family, or -masquerade", p)
		case !c.masquerade:
			continue
		}
		rules = append(rules, r)
	}
	_, err := nat.Plan(nil, rules) // they are valid, alone and together
	return rules, err
}

// reservedMost is how many published ports are kept from local programs.
// Whole ranges for a machine inside would leave them none.
const reservedMost = 4096

// settings are those of a gateway with these rules.
func (c config) settings(rules []nat.Rule) []sysctl.Setting {
	r := sysctl.Router{ConntrackMax: c.conntrackMax}
	for _, name := range []string{c.insideInterface, c.outsideInterface} {
		if name != "" && !slices.Contains(r.Interfaces, name) {
			r.Interfaces = append(r.Interfaces, name)
		}
	}
	n := 0
	for _, rule := range rules {
		if family(rule) == nat.IPv6 {
			r.IPv6 = true
		} else {
			r.IPv4 = true
		}
		if ports := rule.DestinationPort; rule.Exact() && n+ports.Len() <= reservedMost {
			n += ports.Len()
			r.NATPorts = append(r.NATPorts, sysctl.PortRange(ports))
		}
	}
	settings := sysctl.Gateway(r)
	for i, s := range settings { // such as ppp0, which comes and goes: it is there at the start
		settings[i].Optional = slices.Contains(r.Interfaces, s.Key.Interface())
	}
	return settings
}

// family is the family of a valid rule.
func family(r nat.Rule) nat.Family {
	for _, a := range []netip.Addr{r.Source.Addr(), r.Destination.Addr(), r.Original.Addr(), r.To, r.Hairpin.Addr()} {
		switch {
		case a.Is4():
			return nat.IPv4
		case a.Is6():
			return nat.IPv6
		}
	}
	return r.Family
}
