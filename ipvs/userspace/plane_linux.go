package userspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/lvskit/lvskit/internal/netns"
	"github.com/lvskit/lvskit/ipvs"
)

// workers is the plane of Linux.
type workers struct {
	e              *Engine
	all            []*worker
	connectTimeout time.Duration
	limits         limits

	// inherited are the sockets of a predecessor's fronts: listen uses them
	// instead of new ones, and takes them out. Engine.mu guards it.
	inherited map[ipvs.ServiceID][]int

	leaving sync.Map // netip.AddrPort to the *udpFront that was closed last

	mu     sync.Mutex
	end    context.CancelFunc // of run
	ended  chan struct{}      // closed when run has returned; nil: there is none
	closed bool
}

const defaultConnectTimeout = 5 * time.Second

func newPlane(e *Engine) (plane, error) {
	n := e.cfg.Workers
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	ws := &workers{e: e, connectTimeout: e.cfg.ConnectTimeout, inherited: map[ipvs.ServiceID][]int{}}
	if ws.connectTimeout == 0 {
		ws.connectTimeout = defaultConnectTimeout
	}
	ws.limits.init(e.cfg.MaxConnections)
	for i := range n {
		w, err := newWorker(ws, i)
		if err != nil {
			ws.close()
			return nil, err
		}
		ws.all = append(ws.all, w)
	}
	return ws, nil
}

// listen opens the sockets of a service.
func (ws *workers) listen(s *service) (f front, err error) {
	err = netns.Do(ws.e.cfg.NetNS, func() (err error) {
		if err := checkSource(s); err != nil {
			return err
		}
		switch {
		case s.ID.FWMark != 0 || s.ID.Addr.Port() == 0:
			err = fmt.Errorf("%s: %w", s.ID, errors.ErrUnsupported)
		case s.ID.Protocol == ipvs.TCP:
			f, err = ws.listenTCP(s)
		case s.ID.Protocol == ipvs.UDP:
			f, err = ws.listenUDP(s)
		default:
			err = fmt.Errorf("%s: %w", s.ID, errors.ErrUnsupported)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// each calls f for every worker, in its goroutine.
func (ws *workers) each(f func(*worker)) {
	for _, w := range ws.all {
		w.post(func() { f(w) })
	}
}

func (ws *workers) pause() { ws.each(func(w *worker) { w.hold(holdHandover) }) }

// run has each worker forward in a goroutine of its own until ctx ends, and
// then drains. The error of one ends all.
func (ws *workers) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ws.mu.Lock()
	if ws.closed {
		ws.mu.Unlock()
		return net.ErrClosed
	}
	ended := make(chan struct{})
	ws.end, ws.ended = cancel, ended
	ws.mu.Unlock()
	defer close(ended)
	errs := make([]error, len(ws.all))
	var running sync.WaitGroup
	for i, w := range ws.all {
		w.arm()
		running.Go(func() {
			defer cancel()
			errs[i] = w.run()
		})
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	ws.drain(ctx, done)
	<-done
	return errors.Join(errs...)
}

// drain waits for the end of ctx and ends the workers.
func (ws *workers) drain(ctx context.Context, done <-chan struct{}) {
	<-ctx.Done()
	succeeded := errors.Is(context.Cause(ctx), ErrSucceeded)
	ws.each(func(w *worker) {
		w.draining, w.succeeded = true, succeeded
		w.hold(holdDrain)
	})
	if ws.e.cfg.DrainTimeout > 0 && !ws.isClosed() {
		timer := time.NewTimer(ws.e.cfg.DrainTimeout)
		defer timer.Stop()
		select {
		case <-done:
			return
		case <-timer.C:
		}
	}
	ws.each((*worker).cutAll)
}

func (ws *workers) isClosed() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.closed
}

func (ws *workers) close() error {
	ws.mu.Lock()
	ws.closed = true
	end, ended := ws.end, ws.ended
	ws.mu.Unlock()
	if ended != nil {
		end()
		ws.each((*worker).cutAll) // though it may drain already
		<-ended
	}
	for _, w := range ws.all {
		w.post(func() {
			for len(w.intakes) > 0 {
				w.intakes[0].shut()
			}
		})
		w.close()
	}
	return nil
}
