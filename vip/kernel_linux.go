package vip

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
)

// kernel is one session with the kernel: a netlink socket, and the notes, in
// the network namespace of the Manager. Its thread is in that namespace.
type kernel struct {
	socks  map[int]*nl.SocketHandle
	log    *slog.Logger
	mark   uint8
	legacy bool     // IFA_PROTO cannot be relied on
	have   Snapshot // what read found last
	tables tables   // whether it looks for our filter
	lines  *lines
	file   notesFile
	notes  notes
}

// line is a netlink socket in the Manager's network namespace.
type line struct {
	sock *nl.NetlinkSocket
	id   uint64 // of the network namespace
	boot string
}

// openLine opens a line in the namespace of the calling thread.
func (m *Manager) openLine() (*line, error) {
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	l := &line{sock: sock}
	if err = sock.SetReceiveTimeout(&unix.Timeval{Sec: 10}); err == nil {
		l.id, l.boot, err = identity(sock.GetFd())
	}
	if err != nil {
		sock.Close()
		return nil, err
	}
	if err := sock.SetExtAck(true); err != nil {
		m.cfg.Logger.Debug("netlink without explanations", "err", err)
	}
	// So that the addresses of one interface can be asked for (Linux 4.20).
	if err := unix.SetsockoptInt(sock.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		m.cfg.Logger.Debug("netlink without filters", "err", err)
	}
	return l, nil
}

// beginOn is a session on the line. The notes are loaded.
func (m *Manager) beginOn(l *line) (*kernel, error) {
	k := &kernel{
		socks: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: l.sock}},
		lines: &m.lines,
		log:   m.cfg.Logger, mark: m.cfg.Mark,
		legacy: m.legacy || release() < 5018,
	}
	return k, k.load(m.cfg.RunDir, l)
}

// session calls fn with the kernel. The notes are loaded; fn saves them.
func (m *Manager) session(fn func(*kernel) error) error {
	return netns.Do(m.cfg.NetNS, func() error {
		l, err := m.openLine()
		if err != nil {
			return err
		}
		defer l.sock.Close()
		k, err := m.beginOn(l)
		if err != nil {
			return err
		}
		return fn(k)
	})
}

// quick is a session on a line that is kept, and without a thread in the
// namespace: fn may use nothing but rtnetlink and the notes. It takes a fraction
// of the time.
func (m *Manager) quick(fn func(*kernel) error) error {
	l, err := m.lines.take(m)
	if err != nil {
		return err
	}
	k, err := m.beginOn(l)
	if err == nil {
		err = fn(k)
	}
	m.lines.give(l, err == nil)
	return err
}

// lines are the idle ones, while the Manager is open.
type lines struct {
	mu   sync.Mutex // guards below
	idle []*line
	open bool

	tables *tableLine // nil if there is none idle
}

const mostLines = 2 // for what is held, and for announcements

func (p *lines) take(m *Manager) (l *line, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		l, p.idle = p.idle[n-1], p.idle[:n-1]
		return l, nil
	}
	err = netns.Do(m.cfg.NetNS, func() (err error) {
		l, err = m.openLine()
		return err
	})
	return l, err
}

// give keeps a line that is known to be in order, else closes it.
func (p *lines) give(l *line, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok || !p.open || len(p.idle) >= mostLines {
		l.sock.Close()
		return
	}
	p.idle = append(p.idle, l)
}

// use says whether lines are kept.
func (p *lines) use(open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = open
	if !open {
		for _, l := range p.idle {
			l.sock.Close()
		}
		p.idle = nil
		if p.tables != nil {
			p.tables.conn.CloseLasting()
			p.tables = nil
		}
	}
}

// release is the kernel's version as major*1000+minor, 0 if it does not tell.
func release() int {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return 0
	}
	major, rest, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), ".")
	minor := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if minor < 0 {
		minor = len(rest)
	}
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(rest[:minor])
	if err1 != nil || err2 != nil {
		return 0
	}
	return a*1000 + b
}

// request makes a rtnetlink request on the session's socket.
func (k *kernel) request(kind, flags int, data ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = k.socks
	for _, d := range data {
		req.AddData(d)
	}
	return req
}

// dump reads a whole table, again if it changed meanwhile.
func (k *kernel) dump(kind int, answer uint16, data ...nl.NetlinkRequestData) ([][]byte, error) {
	for range 50 {
		msgs, err := k.request(kind, unix.NLM_F_DUMP, data...).Execute(unix.NETLINK_ROUTE, answer)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return msgs, words(err)
		}
	}
	return nil, errors.New("the kernel's table changes too fast to be read")
}

// words says what an errno of rtnetlink means here. What the kernel explains
// itself is in err already.
func words(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("it takes CAP_NET_ADMIN in this network namespace: %w", err)
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w (%w)", ErrForeign, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("the interface has gone: %w (%w)", fs.ErrNotExist, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (%w)", errors.ErrUnsupported, err)
	}
	return err
}

// read takes a snapshot.
func (k *kernel) read() (Snapshot, error) {
	if err := k.table(); err != nil {
		return k.have, err
	}
	s, err := &k.have, error(nil)
	if err := k.readSettings(); err != nil {
		return k.have, err
	}
	k.readFilter()
	s.Ports, err = k.ports()
	return k.have, err
}

// readSettings reads the settings that are no interface's, and what of the notes
// is about those and the interfaces that were read.
func (k *kernel) readSettings() (err error) {
	s := &k.have
	if s.All, err = readConf(allInterfaces); err != nil {
		return err
	}
	if s.Default, err = readConf("default"); err != nil {
		return err
	}
	s.Originals = nil
	for _, n := range k.notes.Settings {
		name := s.name(n.Index)
		if name != allInterfaces || n.Index == 0 {
			s.Originals = append(s.Originals, Setting{Interface: name, Key: n.Key, Value: n.Set, Was: n.Was})
		}
	}
	return nil
}

// readMade reads the devices that have just been made.
func (k *kernel) readMade(done []Change) error {
	for _, c := range done {
		if c.Op != AddTunnel && c.Op != AddVirtualMAC {
			continue
		}
		link, err := k.oneLink(0, c.device())
		if err != nil {
			return err
		}
		k.forget(c.device())
		k.have.Links = append(k.have.Links, link)
	}
	return nil
}

// table reads what others may change at any time, and tells what of it is ours.
func (k *kernel) table() error {
	s := Snapshot{Mark: k.mark}
	var err error
	if s.Links, err = k.links(); err != nil {
		return fmt.Errorf("read interfaces: %w", err)
	}
	if s.Addresses, err = k.addresses(s.Links, 0); err != nil {
		return fmt.Errorf("read addresses: %w", err)
	}
	before := len(k.notes.Settings) + len(k.notes.Addresses)
	k.notes.prune(s.Links, s.Addresses)
	k.file.dirty = k.file.dirty || before != len(k.notes.Settings)+len(k.notes.Addresses)
	k.have = s
	return nil
}

// readSome reads the interfaces of these names, and those that had these indexes,
// with their addresses, and of the settings only theirs. With hundreds of
// interfaces or addresses that is much less than all.
func (k *kernel) readSome(names []string, indexes ...int) error {
	k.have = Snapshot{Mark: k.mark, partial: true}
	s := &k.have
	add := func(index int, name string) error {
		link, err := k.oneLink(index, name)
		if err == nil && s.link(link.Name) == nil {
			s.Links = append(s.Links, link)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, name := range names {
		if err := add(0, name); err != nil {
			return fmt.Errorf("read interface %s: %w", name, err)
		}
	}
	for _, index := range indexes {
		known := slices.ContainsFunc(s.Links, func(l Link) bool { return l.Index == index })
		if known {
			continue
		}
		if err := add(index, ""); err != nil {
			return fmt.Errorf("read interface %d: %w", index, err)
		}
	}
	slices.SortFunc(s.Links, func(a, b Link) int { return cmp.Compare(a.Index, b.Index) })
	for _, link := range s.Links {
		addrs, err := k.addresses([]Link{link}, link.Index)
		if err != nil {
			return fmt.Errorf("read addresses: %w", err)
		}
		s.Addresses = append(s.Addresses, addrs...)
	}
	return nil
}

// name is the name of an interface, "all" for index 0.
func (s *Snapshot) name(index int) string {
	i := slices.IndexFunc(s.Links, func(l Link) bool { return l.Index == index })
	if i < 0 {
		return allInterfaces
	}
	return s.Links[i].Name
}

// indexOf finds an interface by its name: among those read, except for devices
// that we have made or deleted since.
func (k *kernel) indexOf(name string) (int, error) {
	if link := k.have.link(name); link != nil {
		return link.Index, nil
	}
	link, err := k.oneLink(0, name)
	return link.Index, err
}

// forget drops a device from what was read.
func (k *kernel) forget(name string) {
	k.have.Links = slices.DeleteFunc(slices.Clone(k.have.Links), func(l Link) bool { return l.Name == name })
}

// execute makes one change.
func (k *kernel) execute(c Change) error {
	switch c.Op {
	case ChangeSetting:
		return k.changeSetting(c.Setting)
	case RestoreSetting:
		return k.restoreSetting(c.Setting)
	case OpenPort:
		return k.openPort(c.Port)
	case ClosePort:
		return k.closePort(c.Port)
	case AddTunnel:
		return k.addTunnel(c.Tunnel)
	case AddVirtualMAC:
		return k.addVirtualMAC(c.VirtualMAC, c.settings)
	case DeleteTunnel:
		return k.deleteLink(c.Tunnel.Name)
	case AddFilter, ReduceFilter:
		return k.changeFilter(c)
	case DeleteFilter:
		return k.deleteFilter()
	case AddAddress, DeleteAddress:
		return k.addressesAtOnce([]Change{c})[0]
	}
	return os.ErrInvalid
}
