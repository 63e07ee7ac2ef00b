package director

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/sysctl"
)

// kernelPlane is the kernel's IPVS.
type kernelPlane struct {
	*ipvs.Client
	ownedServices
	runDir string
	out    io.Writer
}

func newKernelPlane(table *ipvs.Client, runDir string, out io.Writer) *kernelPlane {
	return &kernelPlane{table, ownedServices{filepath.Join(runDir, "director.rules")}, runDir, out}
}

// hangUp leaves all to the other director, who knows them, or resets them.
func (*kernelPlane) hangUp(context.Context) error { return nil }

// The kernel's table is nobody's: each director finds it as the one before has
// left it.
func (*kernelPlane) inherited() bool { return false }
func (*kernelPlane) succeeded() bool { return false }

// run waits: the kernel forwards by itself.
func (*kernelPlane) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// fit adds the settings of a director that forwards in these ways.
func (*kernelPlane) fit(cfg config) (config, error) {
	roles := [][]sysctl.Setting{sysctl.AnyDirector()}
	for i, s := range cfg.services {
		if s.proxy {
			return config{}, at(fmt.Sprintf("services[%d].proxy_protocol", i), errors.New("only -dataplane userspace can do this; with the kernel's, real servers see the client's address anyhow: leave it out"))
		}
		family := s.ID.AddressFamily()
		d := sysctl.Director{Interfaces: cfg.interfaces, IPv4: family == ipvs.IPv4, IPv6: family == ipvs.IPv6}
		switch s.forward {
		case ipvs.ForwardMasq:
			roles = append(roles, sysctl.DirectorNAT(d))
		case ipvs.ForwardTunnel:
			roles = append(roles, sysctl.DirectorTUN(d))
		default:
			roles = append(roles, sysctl.DirectorDR(d))
		}
	}
	roles = append(roles, cfg.throughSettings())
	if cfg.sync != nil {
		roles = append(roles, syncSettings())
	}
	var err error
	cfg.kernel, err = sysctl.Merge(roles...)
	return cfg, err
}
