package vrrp

import (
	"context"
	"net/netip"
	"time"
)

// instance is a Router while it runs; the loop owns it.
type instance struct {
	r   *Router
	cfg *Config
	m   *machine
	w   *wire // of the interface
	w2  *wire // of the second path: what one remembers of sequences is not of the other
	o   *observer

	at  time.Duration // schedule: when it is looked at
	pos int           // schedule: place in the heap; -1 if it is not there

	since    time.Time // of the last transition
	stats    Stats
	source   netip.Addr
	source2  netip.Addr
	sendErr  error         // of the last advertisement
	lateTold time.Duration // when the last LateTimer event was

	wired    []want // what the edge was told last
	started  bool
	cleared  bool          // what a predecessor may have left has been released
	faults   faults        // what the machine was told
	linkDown time.Duration // LinkDebounce: when a link that is down counts; never
	bind     *bind
	hold     hold
	asked    question
}

// faults are what the loop finds out itself.
type faults struct{ iface, link, source, tracker, binder bool }

// hold is how it stands with the Binder.
type hold struct {
	held    bool
	err     error         // of the last call
	retry   time.Duration // when to call it again; never
	pause   time.Duration // before the next retry
	giveUp  time.Duration // when failures become ReasonBinder; never
	forgive time.Duration // when ReasonBinder is over; never
}

// question is what the witness was asked last.
type question struct {
	number  int
	open    bool
	until   time.Duration // no answer by then is a veto; never
	cancel  context.CancelFunc
	running bool // Config.Witness has not returned
	err     error
}

func newInstance(r *Router, cfg *Config) *instance {
	return &instance{
		r: r, cfg: cfg, m: newMachine(cfg), w: newWire(cfg), w2: newWire(cfg), o: newObserver(cfg), pos: -1,
		lateTold: -lateEvery, linkDown: never,
		hold:  hold{retry: never, giveUp: never, forgive: never},
		asked: question{until: never},
	}
}

// deadline is when something is to be done, if nothing happens until then.
func (i *instance) deadline() time.Duration {
	at := min(i.linkDown, i.hold.retry, i.hold.giveUp, i.hold.forgive, i.asked.until)
	if own, ok := i.m.deadline(); ok {
		at = min(at, own)
	}
	return at
}

// port is where its advertisements go out.
func (i *instance) port() port {
	p := port{ifname: i.cfg.Interface, six: i.cfg.ipv6(), protocol: protocolVRRP}
	if i.cfg.Auth.Kind == AuthAH {
		p.protocol = protocolAH
	}
	return p
}

// port2 is port of the second path.
func (i *instance) port2() port {
	p := i.port()
	p.ifname = i.cfg.SecondPath.Interface
	return p
}

// wants are the ports that it needs. One that authenticates by AH listens to
// others too, to tell of them.
func (i *instance) wants() []want {
	w := want{port: i.port(), vrid: i.cfg.VRID, pace: i.cfg.Interval}
	if len(i.cfg.Peers) == 0 {
		w.group, w.frame = i.cfg.Multicast, i.cfg.VirtualMAC
	}
	wants := []want{w}
	if i.cfg.Auth.Kind == AuthAH {
		w.port.protocol = protocolVRRP
		wants = append(wants, w)
	}
	if i.cfg.SecondPath.Interface != "" {
		wants = append(wants, want{port: i.port2(), vrid: i.cfg.VRID, pace: i.cfg.Interval})
	}
	return wants
}

// downInterval is the Active_Down_Interval of its own configuration.
func (i *instance) downInterval() time.Duration {
	return time.Duration(i.cfg.DownCount)*i.cfg.Interval + skew(i.cfg.Version, i.cfg.Priority, i.cfg.Interval)
}
