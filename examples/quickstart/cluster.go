package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/vip"
)

// patience is how long anything is waited for. It is for machines that are
// emulated, or busy: it takes a hundredth of it elsewhere.
const patience = time.Minute

// cluster is all machines on one switch, and the programs that run on them.
//
//	client ---+--- director1, director2 (the virtual address is at one of them)
//	          +--- web1, web2, web3
//	          +--- a port where the advertisements are heard
type cluster struct {
	plane    dataplane
	dir      string // for configurations and notes
	interval time.Duration
	self     string // this program, which is the director, too
	hosts    map[string]*lab.Host
	cables   map[string]*lab.Link
	running  map[string]*lab.Process // the programs, by machine
	tap      *lab.Link
}

// newCluster connects the machines.
func newCluster(l *lab.Lab, plane dataplane, dir string, interval time.Duration) (*cluster, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &cluster{
		plane: plane, dir: dir, interval: interval, self: self,
		hosts: map[string]*lab.Host{}, cables: map[string]*lab.Link{}, running: map[string]*lab.Process{},
	}
	lan, err := l.Switch("lan")
	if err != nil {
		return nil, err
	}
	connect := func(name string, addrs ...netip.Prefix) (*lab.Link, error) {
		h, err := l.Host(name)
		if err != nil {
			return nil, err
		}
		c.hosts[name] = h
		return h.Connect(lan, lab.LinkConfig{Addrs: addrs})
	}
	for _, m := range c.machines() {
		if c.cables[m.name], err = connect(m.name, netip.PrefixFrom(m.addr, bits)); err != nil {
			return nil, err
		}
	}
	c.tap, err = connect("tap")
	return c, err
}

func (c *cluster) machines() []machine {
	all := []machine{{name: "client", addr: clientIP}}
	return append(append(all, directors...), webs...)
}

// start starts web servers and directors.
func (c *cluster) start(ctx context.Context) (err error) {
	for _, w := range webs {
		if err := c.startWeb(ctx, w); err != nil {
			return err
		}
	}
	for _, d := range directors {
		if err := c.startDirector(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// startWeb gives a machine a web server that answers with its name. For direct
// routing it has the virtual address, and answers no ARP for it.
func (c *cluster) startWeb(ctx context.Context, w machine) error {
	h := c.hosts[w.name]
	if c.plane.forward == "dr" {
		m, err := vip.New(vip.Config{NetNS: h.Path(), RunDir: filepath.Join(c.dir, w.name)})
		if err != nil {
			return err
		}
		if err := m.Open(); err != nil {
			return err
		}
		defer m.Close()
		if _, err := m.Apply(ctx, vip.DirectRouting([]netip.Addr{virtual}, "eth0")); err != nil {
			return err
		}
	}
	ln, err := h.Listen("tcp4", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	page := http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { fmt.Fprintln(out, w.name) })
	h.Go(func(context.Context) error { // until the lab closes the listener
		_ = http.Serve(ln, page)
		return nil
	})
	return nil
}

func (c *cluster) startDirector(ctx context.Context, d machine) error {
	file := filepath.Join(c.dir, d.name+".json")
	if err := writeConfig(file, c.plane, d.priority, c.interval); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := c.hosts[d.name].Start(c.self, asDirector,
		"-config", file, "-run", filepath.Join(c.dir, d.name), "-dataplane", c.plane.name, "-metrics", metricsAddress)
	if err != nil {
		return err
	}
	c.running[d.name] = p
	return p.WaitOutput(ctx, "ready\n")
}

// powerOff takes a director's power away: its program is gone and so is its
// network. Of SIGKILL alone no client would notice anything before the other
// director takes over: the kernel has the address and the table, and goes on.
func (c *cluster) powerOff(director string) error {
	p := c.running[director]
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("%s had ended before it was killed: %w\n%s", director, err, p.Output())
	}
	return errors.Join(c.cables[director].Down(), p.Kill())
}

// powerOn starts a director as after a boot, which its network joins last. It
// finds what its predecessor has left.
func (c *cluster) powerOn(ctx context.Context, director machine) error {
	if err := c.startDirector(ctx, director); err != nil {
		return err
	}
	return c.cables[director.name].Up()
}
