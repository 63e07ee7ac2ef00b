package vrrp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"
)

// world is routers, links and virtual time. All of its chance comes from one
// generator, so that a scenario runs the same way each time.
type world struct {
	sc     *scenario
	rand   *rand.Rand
	now    time.Duration
	hosts  []*host
	air    airHeap
	nets   [][][]wireState // by link, source, destination
	sent   int             // messages
	packet Packet
	judge  *judge
	mutant func(m *machine, now time.Duration, in *input) // what a faulty machine would do otherwise
	quiet  bool
	trace  []string
	traced bool
}

// wireState is one direction of one path.
type wireState struct{ cut bool }

// host is a program that runs one router on each link, in one sync group if there are
// two.
type host struct {
	id      int
	up      bool
	cfgs    []*Config
	wires   []*wire // by link; the last is of the second path
	weights int     // of trackers, all together
	ms      []*machine
	group   *Group
	offset  time.Duration // its clock
	ppm     int64

	stalled time.Duration // it does nothing until then
	asleep  bool          // and hears nothing either (suspended, not stopped)
	inbox   []envelope
	asked   []int // by machine: the number of the last question to the witness
	veto    bool
}

// envelope is a message on its way, or the answer of a witness.
type envelope struct {
	at       time.Duration
	seq      int
	link     int // secondLink: a beat
	from, to int
	msg      []byte
	question int // above 0: the answer to it
	boot     int
}

const secondLink = 2

func newWorld(sc *scenario) *world {
	w := &world{sc: sc, rand: rand.New(rand.NewPCG(sc.seed, 0x5eed))}
	n := len(sc.hosts)
	w.nets = make([][][]wireState, secondLink+1)
	for l := range w.nets {
		w.nets[l] = make([][]wireState, n)
		for i := range w.nets[l] {
			w.nets[l][i] = make([]wireState, n)
		}
	}
	for i, p := range sc.hosts {
		h := &host{id: i, offset: p.offset, ppm: p.ppm}
		for l := range sc.links {
			cfg := sc.config(i, l)
			h.cfgs, h.wires = append(h.cfgs, cfg), append(h.wires, newWire(cfg))
		}
		h.wires = append(h.wires, newWire(h.cfgs[0]))
		w.hosts = append(w.hosts, h)
	}
	w.judge = newJudge(w)
	return w
}

// config is that of a host on a link, as a program would give it.
func (s *scenario) config(id, link int) *Config {
	cfg := s.hosts[id].cfg
	cfg.Interface, cfg.VRID, cfg.Addresses = "eth0", 51, []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(link)})}
	cfg.Source = address(s, link, id)
	if s.second {
		cfg.SecondPath.Interface = "eth9"
		for other := range s.hosts {
			if other != id {
				cfg.SecondPath.Peers = append(cfg.SecondPath.Peers, address(s, secondLink, other))
			}
		}
	}
	normal, err := cfg.normal()
	if err != nil {
		panic(err) // the scenario makes no sense
	}
	return &normal
}

// address is that of a host on a link; on the second link their order is the
// other way round if the scenario says so.
func address(sc *scenario, link, id int) netip.Addr {
	if link == 1 && sc.crossed {
		id = len(sc.hosts) - 1 - id
	}
	return netip.AddrFrom4([4]byte{10, byte(link), 0, byte(100 + id)})
}

// local is a host's clock, real the time at which it shows l or more.
func (h *host) local(t time.Duration) time.Duration {
	return h.offset + t + t/1_000_000*time.Duration(h.ppm)
}

func (h *host) real(l time.Duration) time.Duration {
	l -= h.offset
	t := l - l/1_000_000*time.Duration(h.ppm)
	for h.local(t) < l+h.offset {
		t += time.Microsecond
	}
	return t
}

func (w *world) note(format string, args ...any) {
	if w.traced {
		w.trace = append(w.trace, fmt.Sprintf("%14v  ", w.now)+fmt.Sprintf(format, args...))
	}
}

// start boots a host: what a killed predecessor held is swept.
func (w *world) start(h *host) {
	h.up, h.inbox, h.asleep, h.stalled = true, nil, false, w.now
	h.ms, h.asked = nil, make([]int, len(h.cfgs))
	h.group = NewGroup("g")
	for l, cfg := range h.cfgs {
		if len(h.cfgs) > 1 {
			cfg.Group = h.group
		}
		h.ms = append(h.ms, newMachine(cfg))
		w.judge.boot(h, l)
	}
	w.note("host %d starts", h.id)
	for l := range h.ms {
		w.step(h, l, input{kind: inStart})
		w.step(h, l, input{kind: inPriority, priority: w.effective(h, l)})
	}
}

func (w *world) effective(h *host, l int) uint8 {
	p, _ := effective(h.cfgs[l].Priority, []weight{{h.weights, h.weights > 0}})
	return p
}

// crash is SIGKILL.
func (w *world) crash(h *host) {
	if !h.up {
		return
	}
	h.up = false
	w.note("host %d crashes", h.id)
}

// stop is SIGTERM.
func (w *world) stop(h *host) {
	if !h.up || h.stalled > w.now {
		return
	}
	w.note("host %d stops", h.id)
	for l := range h.ms {
		w.step(h, l, input{kind: inStop})
	}
	h.up = false
}

// step gives an input to a machine and does what it wants.
func (w *world) step(h *host, l int, in input) {
	m, local := h.ms[l], h.local(w.now)
	w.judge.before(h, l, local, in)
	if w.mutant != nil {
		if w.mutant(m, local, &in); in.kind == 0 {
			return
		}
	}
	for _, a := range m.step(local, in) {
		w.do(h, a, local)
	}
	w.judge.after(h, local)
}

func (w *world) do(h *host, a action, local time.Duration) {
	l := 0
	for h.ms[l] != a.m {
		l++
	}
	w.judge.action(h, l, a, local)
	switch a.kind {
	case actAdvertise:
		w.note("host %d link %d advertises %d", h.id, l, a.priority)
		w.send(h, l, l, a.priority)
		if w.sc.second {
			w.send(h, l, secondLink, a.priority)
		}
	case actEvent:
		w.note("host %d link %d: %v %v -> %v: %v %v", h.id, l, a.event.Kind, a.event.From, a.event.To, a.event.Reason, a.event.Peer.Addr)
	case actWitness:
		h.asked[l]++
		after := time.Duration(w.rand.Int64N(int64(h.cfgs[l].Interval)))
		w.post(envelope{at: w.now + after, link: l, to: h.id, question: h.asked[l], boot: w.judge.boots[h.id]})
	}
}

// send gives a message to all others, with what the paths do to it.
func (w *world) send(h *host, l, link int, priority uint8) {
	n := &w.sc.noise
	msg := w.encode(h, l, link, priority)
	for to := range w.hosts {
		if to == h.id {
			continue
		}
		w.sent++
		if w.nets[link][h.id][to].cut || !w.quiet && w.rand.Float64() < n.loss {
			continue
		}
		e := envelope{link: link, from: h.id, to: to, msg: msg}
		e.at = w.now + w.delay()
		w.post(e)
		if !w.quiet && w.rand.Float64() < n.dup {
			e.at = w.now + w.delay()
			w.post(e)
		}
	}
}

// delay is short; in trouble it is long for some, so that they overtake each other.
func (w *world) delay() time.Duration {
	d := time.Duration(w.rand.Int64N(int64(w.sc.latency)) + 1)
	if n := &w.sc.noise; !w.quiet && n.slow > 0 && w.rand.Float64() < n.slowShare {
		d += time.Duration(w.rand.Int64N(int64(n.slow)))
	}
	return d
}

func (w *world) post(e envelope) {
	w.judge.seq++
	e.seq = w.judge.seq
	w.air.push(e)
}

// deliver hands a message over, or puts it into the queue of a stalled host.
func (w *world) deliver(e envelope) {
	h := w.hosts[e.to]
	switch {
	case !h.up:
	case h.stalled > w.now && h.asleep && e.question == 0:
	case h.stalled > w.now:
		h.inbox = append(h.inbox, e)
	default:
		w.receive(h, e)
	}
}

func (w *world) receive(h *host, e envelope) {
	if e.question > 0 {
		if e.boot == w.judge.boots[h.id] && e.question == h.asked[e.link] {
			w.step(h, e.link, input{kind: inWitness, on: !h.veto})
		}
		return
	}
	in := input{kind: inAdvert, from: address(w.sc, e.link, e.from)}
	head := header{src: in.from, dst: h.cfgs[0].Multicast, hopLimit: 255, protocol: 112, multicast: true}
	l, p := e.link, &w.packet
	wire := h.wires[min(l, len(h.cfgs))]
	if e.link == secondLink {
		l, in.kind = 0, inBeat
		head.dst, head.multicast, head.second = address(w.sc, e.link, h.id), false, true
	}
	if drop := wire.decode(p, head, e.msg, time.Unix(0, 0)); drop != DropNone {
		w.judge.fail("host %d drops a message of host %d: %d", h.id, e.from, drop)
		return
	}
	in.local, in.priority, in.interval = h.cfgs[l].Source, p.Priority, p.Interval
	w.step(h, l, in)
}

// encode is an advertisement on the wire; the second path goes to each by itself,
// which does not show in a checksum of v2, and is the message alone in v3 here.
func (w *world) encode(h *host, l, link int, priority uint8) []byte {
	c := h.cfgs[l]
	p := Packet{Version: c.Version, VRID: c.VRID, Priority: priority, Interval: c.Interval, Addresses: c.Addresses}
	return h.wires[min(link, len(h.cfgs))].encode(make([]byte, 0, 24), &p, address(w.sc, link, h.id), c.Multicast, time.Unix(0, 0))
}

// run goes on to time end.
func (w *world) run(end time.Duration) {
	for !w.judge.broken() {
		at, who := w.nextTick()
		if who != nil && at <= end && (len(w.air) == 0 || at < w.air[0].at) {
			w.now = max(w.now, at)
			w.wake(who)
			continue
		}
		if len(w.air) == 0 || w.air[0].at > end {
			break
		}
		e := w.air.pop()
		w.now = max(w.now, e.at)
		w.deliver(e)
	}
	w.now = max(w.now, end)
}

// nextTick is which host has to wake next, and when: for a timer or at the end of a
// stall.
func (w *world) nextTick() (at time.Duration, who *host) {
	for _, h := range w.hosts {
		if !h.up {
			continue
		}
		for _, m := range h.ms {
			d, ok := m.deadline()
			if !ok && len(h.inbox) == 0 {
				continue
			}
			d = h.real(d)
			if len(h.inbox) > 0 {
				d = 0
			}
			if d = max(d, h.stalled, w.now); who == nil || d < at {
				at, who = d, h
			}
		}
	}
	return at, who
}

// wake drains what has come in, and only then lets timers fire.
func (w *world) wake(h *host) {
	inbox, slept := h.inbox, h.asleep && h.stalled <= w.now
	h.inbox, h.asleep = nil, false
	for _, e := range inbox {
		w.receive(h, e)
	}
	local := h.local(w.now)
	for l, m := range h.ms {
		if at, ok := m.deadline(); ok && at <= local {
			w.judge.tick()
			overslept := slept && m.state == Backup && m.priority != owner && local-at > time.Duration(m.cfg.DownCount)*m.activeInterval()
			w.step(h, l, input{kind: inTick})
			if overslept && m.state == Active {
				w.judge.fail("host %d link %d takes over as it wakes", h.id, l)
			}
		}
	}
}

// airHeap is the messages on their way, the earliest first.
type airHeap []envelope

func (a airHeap) less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}

func (a *airHeap) push(e envelope) {
	*a = append(*a, e)
	s := *a
	for i := len(s) - 1; i > 0 && s.less(i, (i-1)/2); i = (i - 1) / 2 {
		s[i], s[(i-1)/2] = s[(i-1)/2], s[i]
	}
}

func (a *airHeap) pop() envelope {
	s := *a
	top, last := s[0], len(s)-1
	s[0] = s[last]
	s = s[:last]
	*a = s
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			return top
		}
		if c+1 < last && s.less(c+1, c) {
			c++
		}
		if !s.less(c, i) {
			return top
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
}
