package director

import (
	"context"
	"errors"
	"fmt"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/userspace"
)

// enginePlane forwards in this program.
type enginePlane struct {
	*userspace.Engine
	why string // it is not the kernel
}

func openEngine(o options, why string) (*enginePlane, error) {
	engine, err := userspace.Open(userspace.Config{})
	if err != nil {
		return nil, err
	}
	return &enginePlane{engine, why}, nil
}

func (e *enginePlane) run(ctx context.Context) error { return e.Run(ctx) }

// fit finds what only the kernel can do. The engine takes no settings: it listens
// on addresses that are not there yet by itself, and forwards no packets.
func (e *enginePlane) fit(cfg config) (config, error) {
	for i, s := range cfg.services {
		where := fmt.Sprintf("services[%d]", i)
		if s.forward != ipvs.ForwardMasq {
			return config{}, at(where+".forward", fmt.Errorf(`only the kernel can do this, and here it is the userspace engine that forwards (%s): write "forward": "nat"`, e.why))
		}
		if s.ID.Protocol != ipvs.TCP && s.ID.Protocol != ipvs.UDP {
			return config{}, at(where+".protocol", fmt.Errorf("only the kernel can do %s, and here it is the userspace engine that forwards (%s): tcp and udp", s.ID.Protocol, e.why))
		}
	}
	if cfg.sync != nil {
		return config{}, at("sync", fmt.Errorf("only the kernel can tell another one of its connections, and here it is the userspace engine that forwards (%s): leave it out", e.why))
	}
	return cfg, nil
}

// synchronise is called without anything to do, see fit.
func (*enginePlane) synchronise(_ context.Context, want *syncFile) error {
	if want != nil {
		return errors.ErrUnsupported
	}
	return nil
}
