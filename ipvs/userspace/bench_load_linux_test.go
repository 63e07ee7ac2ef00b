package userspace

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loadEnv has the load of the child "load", in JSON.
const loadEnv = "LVSKIT_USERSPACE_LOAD"

// A load is what clients do.
type load struct {
	Kind    string           // connect, requests, latency, streams, datagrams, idle
	Targets []netip.AddrPort // in turn
	Conns   int              // at a time
	Sources int              // addresses 127.0.0.x to come from; 0: one that the kernel chooses
	Rate    int              // latency: requests a second
	Window  int              // datagrams: on the way for each client
	Warm    time.Duration    // before what is measured
	Span    time.Duration
}

// A yield is what came of a load.
type yield struct {
	Count  int           // operations, or bytes of streams, in the span
	Total  int           // the same from beginning to end
	Errors int           // from beginning to end
	Span   time.Duration // as measured
	// Latency, from the moment at which the request was due.
	P50, P99, P999 time.Duration
}

func init() { children["load"] = loadMain }

// loadMain is the clients: one thread around an epoll, so that a benchmark
// knows what they cost. The result is printed in JSON.
func loadMain() {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	g := &generator{buf: make([]byte, 1<<20)}
	err := json.Unmarshal([]byte(os.Getenv(loadEnv)), &g.load)
	if err == nil {
		err = g.run()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	g.yield.P50, g.yield.P99, g.yield.P999 = g.percentile(0.5), g.percentile(0.99), g.percentile(0.999)
	text, _ := json.Marshal(g.yield)
	fmt.Println(string(text))
}

// requestSize is the size of a request and its answer on kept connections, and
// of a datagram.
const requestSize = 64

type generator struct {
	load
	yield
	epoll    int
	buf      []byte
	slots    []slot // by descriptor
	started  int    // connections
	idle     int    // connections that have had their answer
	measured bool
	begin    time.Time
	from     time.Time       // latency: since when requests are due
	sent     int             // datagrams
	late     []time.Duration // latencies
	step     func(fd int, s *slot, events uint32)
	batch    *datagrams
}

// slot is a connection.
type slot struct {
	wrote bool
	got   int
	due   []time.Duration // requests under way: when they were due
	last  time.Time       // datagrams: of the last answer
}

func (g *generator) percentile(p float64) time.Duration {
	if len(g.late) == 0 {
		return 0
	}
	slices.Sort(g.late)
	return g.late[min(int(p*float64(len(g.late))), len(g.late)-1)]
}

func (g *generator) run() (err error) {
	if g.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	g.slots = make([]slot, 1<<17)
	g.step = map[string]func(int, *slot, uint32){
		"connect": g.connect, "requests": g.request, "latency": g.answer, "streams": g.stream, "datagrams": g.datagrams, "idle": g.still,
	}[g.Kind]
	if g.step == nil {
		return fmt.Errorf("no such load: %q", g.Kind)
	}
	switch g.Kind {
	case "latency":
		return g.paced()
	case "idle":
		return g.rest()
	case "datagrams":
		return g.flood()
	}
	for range g.Conns {
		if _, err := g.start(unix.SOCK_STREAM); err != nil {
			return err
		}
	}
	g.begin = time.Now()
	for !g.over(time.Now()) {
		if err := g.round(100 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// over moves from the warming to the span, and tells when that is over.
func (g *generator) over(now time.Time) bool {
	gone := now.Sub(g.begin)
	switch {
	case !g.measured && gone >= g.Warm:
		g.measured = true
		g.begin = now
		g.Count, g.late = 0, g.late[:0]
	case g.measured && gone >= g.load.Span:
		g.yield.Span = gone
		return true
	}
	return false
}

// round waits for events and answers them.
func (g *generator) round(most time.Duration) error {
	var events [256]unix.EpollEvent
	limit := unix.NsecToTimespec(int64(max(most, 0)))
	n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(g.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
		uintptr(unsafe.Pointer(&limit)), 0, 0)
	if e != 0 && e != unix.EINTR {
		return os.NewSyscallError("epoll_pwait2", e)
	}
	if e != 0 {
		return nil
	}
	for _, ev := range events[:n] {
		g.step(int(ev.Fd), &g.slots[ev.Fd], ev.Events)
	}
	return nil
}

// count counts operations or bytes.
func (g *generator) count(n int) {
	g.Count += n
	g.Total += n
}

// start begins a connection with the next target, from the next source.
func (g *generator) start(typ int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if g.Sources > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		from := unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + g.started%g.Sources)}}
		if err := unix.Bind(fd, &from); err != nil {
			return 0, os.NewSyscallError("bind", err)
		}
	}
	if typ == unix.SOCK_STREAM && g.Kind != "connect" {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	to := g.Targets[g.started%len(g.Targets)]
	g.started++
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil && err != unix.EINPROGRESS {
		return 0, fmt.Errorf("connect to %v: %w", to, err)
	}
	g.slots[fd] = slot{}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
	return fd, os.NewSyscallError("epoll_ctl", unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, fd, &ev))
}

// restart ends a connection and begins another in its place.
func (g *generator) restart(fd int, failed bool) {
	if failed {
		g.Errors++
	}
	unix.Close(fd)
	if _, err := g.start(unix.SOCK_STREAM); err != nil {
		g.Errors++
		if g.Errors > 100_000 {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

// connect is a connection for one byte there and back.
func (g *generator) connect(fd int, s *slot, events uint32) {
	if !s.wrote && events&unix.EPOLLOUT != 0 {
		if n, err := tryWrite(fd, g.buf[:1]); n == 1 {
			s.wrote = true
		} else if err != unix.EAGAIN {
			g.restart(fd, true)
			return
		}
	}
	if !s.wrote || events&(unix.EPOLLIN|unix.EPOLLERR|unix.EPOLLHUP) == 0 {
		return
	}
	n, err := tryRead(fd, g.buf[:1])
	if err == unix.EAGAIN {
		return
	}
	if n == 1 {
		g.count(1)
	}
	g.restart(fd, n != 1)
}

// request is a connection with one request under way at any time.
func (g *generator) request(fd int, s *slot, events uint32) {
	if !s.wrote && events&unix.EPOLLOUT != 0 {
		s.wrote = true
		g.ask(fd)
		return
	}
	for {
		n, err := tryRead(fd, g.buf[:4096])
		if err == unix.EAGAIN {
			return
		}
		if n <= 0 {
			g.restart(fd, true)
			return
		}
		if s.got += n; s.got < requestSize {
			continue
		}
		s.got = 0
		g.count(1)
		g.ask(fd)
		return // the answer is an edge of its own
	}
}

func (g *generator) ask(fd int) {
	if n, _ := tryWrite(fd, g.buf[:requestSize]); n != requestSize {
		g.Errors++
	}
}

// stream throws away what comes, in the kernel.
func (g *generator) stream(fd int, _ *slot, events uint32) {
	for range 4 {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&g.buf[0])), uintptr(len(g.buf)), unix.MSG_TRUNC, 0, 0)
		if e == unix.EAGAIN {
			return
		}
		if e != 0 || n == 0 {
			g.restart(fd, true)
			return
		}
		g.count(int(n))
	}
	// Another may have its turn: the descriptor is ready still.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
	_ = unix.EpollCtl(g.epoll, unix.EPOLL_CTL_MOD, fd, &ev)
}
