package director

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/userspace"
)

// enginePlane forwards in this program.
type enginePlane struct {
	*userspace.Engine
	why      string // it is not the kernel
	handover string
	inherits bool
	succeeds atomic.Bool

	mu    sync.Mutex // guards proxy
	proxy map[ipvs.ServiceID]bool
}

// openEngine opens an engine, with the table of the director that runs already with
// the same socket, if there is one: it goes on until this one's engine runs.
func openEngine(ctx context.Context, cfg config, handover, why string) (e *enginePlane, err error) {
	e = &enginePlane{why: why, handover: handover}
	if err := e.use(cfg); err != nil {
		return nil, err
	}
	if e.Engine, err = userspace.Open(userspace.Config{Handover: handover, DrainTimeout: drainTime, Source: e.source}); err != nil {
		return nil, err
	}
	services, err := e.Services(ctx)
	e.inherits = len(services) > 0
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// source says what the real servers of a service learn about the client.
func (e *enginePlane) source(id ipvs.ServiceID) userspace.Source {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.proxy[id] {
		return userspace.SourceProxy
	}
	return userspace.SourceLocal
}

// use remembers what source is to say. It says it once for a service.
func (e *enginePlane) use(cfg config) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	proxy := map[ipvs.ServiceID]bool{}
	for i, s := range cfg.services {
		if old, there := e.proxy[s.ID]; there && old != s.proxy {
			return at(fmt.Sprintf("services[%d].proxy_protocol", i), errors.New("it cannot change while the director runs: start it again"))
		}
		proxy[s.ID] = s.proxy
	}
	e.proxy = proxy
	return nil
}

// The table is this program's alone.
func (*enginePlane) policy() ipvs.Policy {
	return ipvs.Policy{Owns: func(ipvs.ServiceID) bool { return true }}
}
func (*enginePlane) own([]ipvs.Service) error     { return nil }
func (*enginePlane) ownOnly([]ipvs.Service) error { return nil }

func (e *enginePlane) inherited() bool { return e.inherits }
func (e *enginePlane) succeeded() bool { return e.succeeds.Load() }

// hangUp takes the real servers away: that resets their connections.
func (e *enginePlane) hangUp(ctx context.Context) error {
	have, err := e.Services(ctx)
	if err != nil {
		return err
	}
	var none []ipvs.Service
	for _, s := range have {
		none = append(none, s.Service) // which has no destinations
	}
	if _, err := e.Apply(ctx, none, e.policy()); err != nil {
		return err
	}
	for deadline := time.Now().Add(hangUpTime); e.connected(ctx) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// hangUpTime is how long that may take.
const hangUpTime = 200 * time.Millisecond

func (e *enginePlane) connected(ctx context.Context) bool {
	for range e.Connections(ctx) {
		return true
	}
	return false
}

func (e *enginePlane) run(ctx context.Context) error {
	if e.handover != "" {
		if err := os.MkdirAll(filepath.Dir(e.handover), 0o755); err != nil {
			return err
		}
	}
	err := e.Run(ctx)
	if errors.Is(err, userspace.ErrSucceeded) {
		e.succeeds.Store(true)
		return nil
	}
	return err
}

// fit finds what only the kernel can do. The engine takes no settings: it listens
// on addresses that are not there yet by itself, and forwards no packets.
func (e *enginePlane) fit(cfg config) (config, error) {
	only := func(what, instead string) error {
		return fmt.Errorf("only the kernel can %s, and here the userspace engine forwards (%s): %s", what, e.why, instead)
	}
	for i, s := range cfg.services {
		where := fmt.Sprintf("services[%d]", i)
		if s.forward != ipvs.ForwardMasq {
			return config{}, at(where+".forward", only("forward by "+forward(s.forward).String(), `write "forward": "nat"`))
		}
		if s.ID.Protocol != ipvs.TCP && s.ID.Protocol != ipvs.UDP {
			return config{}, at(where+".protocol", only("forward "+s.ID.Protocol.String(), "it takes tcp and udp"))
		}
	}
	if cfg.sync != nil {
		return config{}, at("sync", only("tell another director of its connections", "leave it out"))
	}
	return cfg, e.use(cfg)
}

// synchronise is called without anything to do, see fit.
func (*enginePlane) synchronise(_ context.Context, want *syncFile) error {
	if want != nil {
		return errors.ErrUnsupported
	}
	return nil
}
