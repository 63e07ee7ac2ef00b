package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/lvskit/lvskit/internal/netns"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// fabricSettings keep the switches silent: what a capture shows, a host sent.
var fabricSettings = []setting{
	{"ipv6/conf/all/disable_ipv6", "1"},
	{"ipv6/conf/default/disable_ipv6", "1"},
	{"bridge/bridge-nf-call-iptables", "0"},
	{"bridge/bridge-nf-call-ip6tables", "0"},
	{"bridge/bridge-nf-call-arptables", "0"},
}

// Lab is a network of hosts and switches. Its methods, and those of all that
// it makes, are safe for concurrent use; after Close they answer net.ErrClosed.
type Lab struct {
	log    *slog.Logger
	ctx    context.Context // ends processes and tasks
	cancel context.CancelFunc
	forks  chan func()    // to the forking thread
	forker sync.WaitGroup // the forking thread
	users  sync.WaitGroup // processes and tasks

	mu        sync.Mutex // guards what follows and all use of netlink
	closed    bool
	fabric    *space // where switches are
	hosts     []*Host
	switches  []*Switch
	ports     int // made so far
	processes []*Process
	sockets   []io.Closer
	alive     pipe // closes with this process

	once sync.Once
}

// Switch is an Ethernet switch (a bridge).
type Switch struct {
	lab    *Lab
	name   string
	bridge *netlink.Bridge
}

// New makes a lab without hosts. It takes CAP_SYS_ADMIN and CAP_NET_ADMIN,
// else the error matches fs.ErrPermission: call Enter first.
func New(cfg Config) (*Lab, error) {
	fabric, err := newSpace(fabricSettings)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("lab: %w: run as root, or call lab.Enter first", err)
	}
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	l := &Lab{log: cfg.Logger, fabric: fabric, forks: make(chan func())}
	if l.alive.reader, l.alive.writer, err = os.Pipe(); err != nil {
		fabric.close()
		return nil, fmt.Errorf("lab: %w", err)
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.forker.Add(1)
	netns.Go(func() {
		defer l.forker.Done()
		for fork := range l.forks {
			fork()
		}
	})
	return l, nil
}

// Close kills the processes on the hosts, with all that they have started,
// ends the tasks and waits for them, and takes the network away. It always
// returns nil; calls after the first wait for it. It must not be called from
// a function that runs on a host.
func (l *Lab) Close() error {
	l.once.Do(func() {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.cancel()
		for _, s := range l.sockets {
			s.Close()
		}
		l.endProcesses()
		l.users.Wait()
		close(l.forks)
		l.forker.Wait()
		for _, h := range l.hosts {
			h.space.close()
		}
		l.fabric.close()
		l.alive.reader.Close()
		l.alive.writer.Close()
		l.log.Debug("lab closed")
	})
	return nil
}

// endProcesses kills what runs on hosts that have run anything.
func (l *Lab) endProcesses() {
	ids := make(map[string]bool)
	for _, h := range l.hosts {
		if h.watched {
			ids[h.space.id] = true
		}
	}
	if len(ids) > 0 {
		endLeft(ids)
	}
}

// Host adds a host: a network namespace of its own, with lo up. The name is
// for people. One that is taken matches fs.ErrExist.
func (l *Lab) Host(name string) (*Host, error) {
	h := &Host{lab: l, name: name}
	err := l.use(func() (err error) {
		if slices.ContainsFunc(l.hosts, func(o *Host) bool { return o.name == name }) || name == "" {
			return nameError(name)
		}
		if h.space, err = newSpace(hostSettings); err != nil {
			return err
		}
		l.hosts = append(l.hosts, h)
		h.number = len(l.hosts)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lab: make host %s: %w", name, err)
	}
	l.log.Debug("host made", "host", name, "netns", h.Path())
	return h, nil
}

// Switch adds a switch. The name is for people. One that is taken matches
// fs.ErrExist.
func (l *Lab) Switch(name string) (*Switch, error) {
	s := &Switch{lab: l, name: name}
	err := l.use(func() error {
		if slices.ContainsFunc(l.switches, func(o *Switch) bool { return o.name == name }) || name == "" {
			return nameError(name)
		}
		snooping := false
		attrs := netlink.NewLinkAttrs()
		attrs.Name = fmt.Sprintf("sw%d", len(l.switches))
		s.bridge = &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
		if err := l.fabric.nl.LinkAdd(s.bridge); err != nil {
			return fmt.Errorf("add bridge: %w", err)
		}
		if err := l.fabric.nl.LinkSetUp(s.bridge); err != nil {
			return errors.Join(fmt.Errorf("set bridge up: %w", err), l.fabric.nl.LinkDel(s.bridge))
		}
		l.switches = append(l.switches, s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lab: make switch %s: %w", name, err)
	}
	l.log.Debug("switch made", "switch", name)
	return s, nil
}

// Name is the name that the switch was made with.
func (s *Switch) Name() string { return s.name }

// Processes lists what Host.Start has started, ended ones included, in order.
func (l *Lab) Processes() []*Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.processes)
}

// use calls fn with the lab locked and open.
func (l *Lab) use(fn func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	return fn()
}

func nameError(name string) error {
	if name == "" {
		return fmt.Errorf("it has no name: %w", fs.ErrInvalid)
	}
	return fs.ErrExist
}
