package director

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// server is a real server that answers each line with its name and the line.
type server struct {
	t *testing.T
	*lab.Host
	addr   netip.Addr
	vip    string
	device string // that has the virtual address

	mu    sync.Mutex // guards all below
	ln    net.Listener
	conns map[net.Conn]bool
}

func (s *server) real() string { return netip.AddrPortFrom(s.addr, 80).String() }

// start starts the service, as after a repair.
func (s *server) start() {
	s.t.Helper()
	ln, err := s.Listen("tcp", ":80")
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.ln, s.conns = ln, map[net.Conn]bool{}
	s.mu.Unlock()
	s.Go(func(context.Context) error {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return nil // died, or closed with the lab
			}
			s.Go(func(ctx context.Context) error {
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				s.answer(conn)
				return nil
			})
		}
	})
}

func (s *server) answer(conn net.Conn) {
	s.mu.Lock()
	s.conns[conn] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		conn.Close()
	}()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if _, err := fmt.Fprintln(conn, s.Name(), lines.Text()); err != nil {
			return
		}
	}
}

// die ends the service with all its connections, as a crash does.
func (s *server) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ln.Close()
	for conn := range s.conns {
		conn.Close()
	}
}

// holdVIP gives the host the virtual address, on this device alone; "" is none.
func (s *server) holdVIP(device string) {
	s.t.Helper()
	if s.device != "" {
		labtest.Run(s.t, s.Host, "ip", "address", "del", s.vip, "dev", s.device)
	}
	if s.device = device; device != "" {
		labtest.Run(s.t, s.Host, "ip", "address", "add", s.vip, "dev", device)
	}
}

// setting sets a kernel setting of a host.
func setting(t *testing.T, h *lab.Host, text string) {
	t.Helper()
	key, value, _ := strings.Cut(text, "=")
	if err := h.Do(func() error { return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644) }); err != nil {
		t.Fatal(err)
	}
}

// load is a client's steady stream of requests, each with a connection of its own.
type load struct {
	mu     sync.Mutex
	failed []string
	by     map[string]int // answers by server
	ended  [workers]int   // requests
	stop   func()
}

const workers = 2

func (r *rig) load() *load {
	l := &load{by: map[string]int{}}
	done := make(chan struct{})
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				conn, err := r.dial()
				l.mu.Lock()
				l.ended[i]++
				if err != nil {
					l.failed = append(l.failed, err.Error())
				} else {
					l.by[conn.server]++
					conn.close()
				}
				l.mu.Unlock()
			}
		})
	}
	l.stop = sync.OnceFunc(func() { close(done); running.Wait() })
	r.Cleanup(l.stop)
	return l
}

// reset forgets the past, and answers it.
func (l *load) reset() (by map[string]int, failed []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by, failed = l.by, l.failed
	l.by, l.failed = map[string]int{}, nil
	return by, failed
}

// after waits until no request is under way that began before now, and forgets them.
func (l *load) after(r *rig) (by map[string]int, failed []string) {
	r.Helper()
	ended := func() [workers]int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.ended
	}
	before := ended()
	r.until("all that was under way is answered", func() bool {
		now := ended()
		for i := range now {
			if now[i] == before[i] {
				return false
			}
		}
		return true
	})
	return l.reset()
}

// more waits for n more answers.
func (l *load) more(r *rig, n int) {
	r.Helper()
	answers := func() (sum int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, n := range l.by {
			sum += n
		}
		return sum
	}
	before := answers()
	r.until(fmt.Sprintf("%d more requests are answered", n), func() bool { return answers() >= before+n })
}
