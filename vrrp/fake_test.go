package vrrp

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeEdge is a system in virtual time: that of a synctest bubble.
type fakeEdge struct {
	start time.Time
	some  chan struct{} // something has come: a packet or a wish to wake up
	dirty chan struct{} // the links or wants have changed

	mu    sync.Mutex // guards all below
	queue []datagram
	sent  []sentPacket
	links map[string]link
	stall time.Duration // how long the next wait sleeps too long
	fail  error         // of send
	ticks int           // calls of wait
	flood bool          // packets without end
}

// sentPacket is an advertisement that was sent, taken apart.
type sentPacket struct {
	at  time.Duration
	out outgoing
	Packet
}

func newFakeEdge() *fakeEdge {
	return &fakeEdge{
		start: time.Now(), some: make(chan struct{}, 1), dirty: make(chan struct{}, 1),
		links: map[string]link{"eth0": {exists: true, index: 2, up: true, carrier: true, addrs: []linkAddr{
			{addr: netip.MustParseAddr("10.0.0.1"), bits: 24, global: true},
		}}},
	}
}

func (e *fakeEdge) now() time.Duration { return time.Since(e.start) }
func (e *fakeEdge) wall() time.Time    { return time.Now() }

func (e *fakeEdge) wait(until time.Duration) {
	e.mu.Lock()
	e.ticks++
	stall := e.stall
	busy := len(e.queue) > 0 || e.flood
	if until > e.now() {
		e.stall = 0
	}
	e.mu.Unlock()
	if until <= e.now() || busy {
		return
	}
	timer := time.NewTimer(min(until-e.now(), 1000*time.Hour))
	defer timer.Stop()
	select {
	case <-e.some:
	case <-timer.C:
	}
	time.Sleep(stall)
}

func (e *fakeEdge) receive(d *datagram) bool {
	e.mu.Lock()
	flood := e.flood
	e.mu.Unlock()
	if flood {
		time.Sleep(30 * time.Microsecond)
		*d = datagram{port: port{"eth0", false, protocolVRRP}, payload: []byte{0x31, 51}}
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		return false
	}
	*d = e.queue[0]
	e.queue = e.queue[1:]
	return true
}

func (e *fakeEdge) send(o *outgoing) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail != nil {
		return e.fail
	}
	p, _ := ParsePacket(o.payload, o.src, o.dst)
	e.sent = append(e.sent, sentPacket{e.now(), *o, p})
	return nil
}

func (e *fakeEdge) wake() {
	select {
	case e.some <- struct{}{}:
	default:
	}
}

func (e *fakeEdge) changed() {
	select {
	case e.dirty <- struct{}{}:
	default:
	}
}

func (e *fakeEdge) want([]want) { e.changed() }

func (e *fakeEdge) watch(ctx context.Context, tell func(func(*loop)) bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.dirty:
			e.mu.Lock()
			links := maps.Clone(e.links)
			e.mu.Unlock()
			tell(func(l *loop) { l.linksChanged(links) })
		}
	}
}

func (e *fakeEdge) close() error { return nil }

// setLink changes eth0.
func (e *fakeEdge) setLink(change func(*link)) {
	e.mu.Lock()
	l := e.links["eth0"]
	change(&l)
	e.links["eth0"] = l
	e.mu.Unlock()
	e.changed()
}

// hear puts an advertisement of another router in the queue.
func (e *fakeEdge) hear(from string, priority uint8, interval time.Duration) {
	src, dst := netip.MustParseAddr(from), group4
	p := Packet{Version: V3, VRID: 51, Priority: priority, Interval: interval, Addresses: addrs("10.0.0.100")}
	e.mu.Lock()
	e.queue = append(e.queue, datagram{
		port: port{"eth0", false, protocolVRRP}, header: header{src: src, dst: dst, hopLimit: 255, protocol: protocolVRRP, multicast: true},
		payload: p.Append(nil, src, dst),
	})
	e.mu.Unlock()
	e.wake()
}

func (e *fakeEdge) advertisements() []sentPacket {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.sent)
}

// fakeRun is a Router that runs on a fakeEdge.
type fakeRun struct {
	*fakeEdge
	t      *testing.T
	r      *Router
	cancel context.CancelFunc
	done   chan error
	told   sync.Mutex // guards events
	events []Event
}

// fake runs a test in a bubble, with a Router of VRID 51 on eth0: priority 100,
// 1 s.
func fake(t *testing.T, cfg Config, test func(f *fakeRun)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, cfg)
		test(f)
		f.stop()
	})
}

func newFake(t *testing.T, cfg Config) *fakeRun {
	f := &fakeRun{fakeEdge: newFakeEdge(), t: t, done: make(chan error, 1)}
	cfg.Interface, cfg.VRID, cfg.Addresses = "eth0", 51, addrs("10.0.0.100")
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(e Event) {
			f.told.Lock()
			defer f.told.Unlock()
			f.events = append(f.events, e)
		}
	}
	var err error
	if f.r, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.cancel = cancel
	go func() { f.done <- runOn(ctx, f.fakeEdge, []*Router{f.r}) }()
	synctest.Wait()
	return f
}

func (f *fakeRun) stop() error {
	f.cancel()
	err := <-f.done
	f.done <- err
	return err
}

// pass lets virtual time pass.
func (f *fakeRun) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (f *fakeRun) want(s State, r Reason) {
	f.t.Helper()
	if got := f.r.Status(); got.State != s || got.Reason != r {
		f.t.Errorf("at %v: %v because of %v, want %v because of %v", f.now(), got.State, got.Reason, s, r)
	}
}

func (f *fakeRun) seen(kind EventKind) []Event {
	f.told.Lock()
	defer f.told.Unlock()
	return slices.DeleteFunc(slices.Clone(f.events), func(e Event) bool { return e.Kind != kind })
}

var errTest = errors.New("an error of the test")
