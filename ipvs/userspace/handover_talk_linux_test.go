package userspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

// open opens an Engine that is closed at the end of the test.
func open(t *testing.T, cfg Config) *Engine {
	t.Helper()
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// runs runs an Engine. end ends it; wait waits until it ends by itself. Both are
// what Run said.
func runs(t *testing.T, e *Engine) (end, wait func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	wait = sync.OnceValue(func() error { return <-done })
	end = func() error {
		cancel()
		return wait()
	}
	t.Cleanup(func() { end() })
	eventually(t, "the handover socket is there", func() bool {
		l, err := dialLink(e.cfg.Handover)
		if l != nil {
			l.close()
		}
		return l != nil && err == nil
	})
	return end, wait
}

// succeeded waits until an Engine ends because another has taken over.
func succeeded(t *testing.T, wait func() error) {
	t.Helper()
	if err := wait(); !errors.Is(err, ErrSucceeded) {
		t.Errorf("the predecessor's Run says %v, want ErrSucceeded", err)
	}
}

// listening tells whether the TCP services of an Engine can be called. They have
// no real server, which resets.
func listening(t *testing.T, e *Engine) {
	t.Helper()
	for id := range e.services {
		if id.Protocol != ipvs.TCP {
			continue
		}
		c, err := net.Dial("tcp", id.Addr.String())
		if err == nil {
			c.Close()
		} else if !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s does not listen: %v", id, err)
		}
	}
}

// filled adds services of TCP and UDP that nobody calls.
func filled(t *testing.T, e *Engine, n int) {
	t.Helper()
	for i := range 2 * n {
		id := ipvs.ServiceID{Protocol: []ipvs.Protocol{ipvs.TCP, ipvs.UDP}[i%2]}
		for {
			id.Addr = freeAddr(t, "127.0.0.1")
			err := e.AddService(t.Context(), ipvs.Service{ID: id, Scheduler: ipvs.RR})
			if err == nil {
				break
			}
			if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, fs.ErrExist) { // somebody else had it, or we
				t.Fatal(err)
			}
		}
	}
}

// More sockets than one packet takes go over, whatever the number of threads.
func TestHandoverOfManySockets(t *testing.T) {
	for _, workers := range []struct{ before, after int }{{3, 3}, {3, 1}, {1, 3}} {
		t.Run(fmt.Sprintf("%d workers to %d", workers.before, workers.after), func(t *testing.T) {
			freeAddr(t, "127.0.0.1")
			before := descriptors(t)
			path := filepath.Join(t.TempDir(), "heir")
			old := open(t, Config{Handover: path, Workers: workers.before})
			filled(t, old, 100)
			_, wait := runs(t, old)
			heir := open(t, Config{Handover: path, Workers: workers.after})
			if have := len(heir.services); have != 200 {
				t.Errorf("%d services went over, want 200", have)
			}
			endHeir, _ := runs(t, heir)
			succeeded(t, wait)
			listening(t, heir)
			if err := old.Close(); err != nil {
				t.Error(err)
			}
			if err := endHeir(); err != nil {
				t.Error(err)
			}
			if err := heir.Close(); err != nil {
				t.Error(err)
			}
			eventually(t, "all descriptors are closed", func() bool { return descriptors(t) <= before })
		})
	}
}

// A successor that opens and closes has no effect, and neither has what it does
// to its table.
func TestSuccessorThinksBetter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heir")
	old := open(t, Config{Handover: path})
	filled(t, old, 2)
	_, wait := runs(t, old)
	before := descriptors(t)
	heir := open(t, Config{Handover: path})
	if _, err := Open(Config{Handover: path}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d is about to take over", os.Getpid())) {
		t.Errorf("a second successor is told %v", err)
	}
	if err := heir.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := heir.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all descriptors of the successor are closed", func() bool { return descriptors(t) <= before })
	listening(t, old)
	another := open(t, Config{Handover: path})
	if have := len(another.services); have != 4 {
		t.Errorf("%d services went over to another one, want 4", have)
	}
	runs(t, another)
	succeeded(t, wait)
}

// What anyone says to a predecessor changes nothing.
func TestHostileSuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heir")
	old := open(t, Config{Handover: path})
	filled(t, old, 1)
	_, wait := runs(t, old)
	before := descriptors(t)
	pipe := [2]int{}
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer closeAll(pipe[:])
	take := head{messageTake, 0, 0}.append(nil)
	for _, tt := range []struct {
		name string
		say  func(l *link) error
	}{
		{"nothing", func(l *link) error { return nil }},
		{"garbage", func(l *link) error { return l.write([]byte("GET / HTTP/1.1\r\n\r\n"), nil) }},
		{"a head that is cut", func(l *link) error { return l.write(take[:len(take)-1], nil) }},
		{"a packet that is too large", func(l *link) error { return l.write(make([]byte, packetMost+1), nil) }},
		{"another version", func(l *link) error { return l.write([]byte(handoverMagic+"\x00\x09"), nil) }},
		{"less than announced", func(l *link) error { return l.write(head{messageTake, 100, 0}.append(nil), nil) }},
		{"more than announced", func(l *link) error {
			return errors.Join(l.write(head{messageTake, 1, 0}.append(nil), nil), l.write([]byte("12"), nil))
		}},
		{"descriptors that nobody wants", func(l *link) error { return l.write(take, unix.UnixRights(pipe[:]...)) }},
		{"descriptors with the taking", func(l *link) error { return l.send(messageTake, nil, pipe[:]) }},
		{"running before taking", func(l *link) error { return l.send(messageRunning, nil, nil) }},
		{"taking twice", func(l *link) error {
			return errors.Join(l.send(messageTake, nil, nil), l.send(messageTake, nil, nil))
		}},
		{"taking, and reading nothing", func(l *link) error { return l.send(messageTake, nil, nil) }},
	} {
		l, err := dialLink(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.say(l); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		l.close()
		eventually(t, tt.name+": all descriptors are closed", func() bool { return descriptors(t) <= before+2 })
	}
	heir := open(t, Config{Handover: path})
	runs(t, heir)
	succeeded(t, wait)
}

// What a process says that is no predecessor leaves nothing behind.
func TestHostilePredecessor(t *testing.T) {
	pipe := [2]int{}
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer closeAll(pipe[:])
	tcp, err := listenOne(freeAddr(t, "127.0.0.1"), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tcp)
	table := func(at netip.AddrPort, scheduler string, sockets int) []byte {
		return fmt.Appendf(nil, `{"Services":[{"Service":{"ID":{"Protocol":"TCP","Addr":"%s"},"Scheduler":"%s"},"Sockets":%d}]}`, at, scheduler, sockets)
	}
	sa, err := unix.Getsockname(tcp)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*unix.SockaddrInet4).Port))
	for _, tt := range []struct {
		name string
		say  func(l *link) error
		want string // in the error of Open
	}{
		{"garbage", func(l *link) error { return l.write([]byte("hello"), nil) }, "does not speak"},
		{"another version", func(l *link) error { return l.write([]byte(handoverMagic+"\x00\x09"), nil) }, "version 9"},
		{"a refusal", func(l *link) error { return l.send(messageRefusal, []byte("not today"), nil) }, "not today"},
		{"another kind", func(l *link) error { return l.send(messageFinal, nil, nil) }, "kind"},
		{"an unreadable table", func(l *link) error { return l.send(messageEstate, []byte("{"), []int{tcp}) }, "unreadable"},
		{"a pipe for a socket", func(l *link) error { return l.send(messageEstate, table(at, "rr", 1), pipe[:1]) }, "non-socket"},
		{"a socket of another address", func(l *link) error {
			return l.send(messageEstate, table(netip.MustParseAddrPort("127.0.0.1:9"), "rr", 1), []int{tcp})
		}, "it is another"},
		{"too many sockets", func(l *link) error { return l.send(messageEstate, table(at, "rr", 1), []int{tcp, tcp}) }, "no service"},
		{"a scheduler that nobody knows", func(l *link) error { return l.send(messageEstate, table(at, "best", 1), []int{tcp}) }, "scheduler"},
		{"bytes between descriptors", func(l *link) error {
			return errors.Join(l.write(head{messageEstate, 1, 2}.append(nil), nil), l.write([]byte{0}, unix.UnixRights(tcp)))
		}, "out of place"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			socket, err := newHandoverSocket(filepath.Join(t.TempDir(), "heir"))
			if err == nil {
				err = socket.publish(false)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer socket.remove()
			before := descriptors(t)
			told := make(chan error, 1)
			go func() { told <- pretend(socket, tt.say) }()
			e, err := Open(Config{Handover: socket.path})
			if err == nil {
				e.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
			if err := <-told; err != nil {
				t.Error(err)
			}
			eventually(t, "all descriptors are closed", func() bool { return descriptors(t) <= before })
		})
	}
}

// pretend takes one successor, hears what it says and answers.
func pretend(socket *handoverSocket, say func(*link) error) error {
	conn, err := socket.AcceptUnix()
	if err != nil {
		return err
	}
	l, err := newLink(conn)
	if err != nil {
		return err
	}
	defer l.close()
	if _, err := l.receive(messageTake, handoverPatience); err != nil {
		return err
	}
	if err := say(l); err != nil {
		return err
	}
	l.conn.SetReadDeadline(time.Now().Add(handoverPatience))
	l.conn.Read(make([]byte, 1)) // until the other side closes
	return nil
}

// A path that is taken by something else is left alone.
func TestHandoverPathIsTaken(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	late := open(t, Config{Handover: filepath.Join(dir, "heir")})
	runs(t, open(t, Config{Handover: filepath.Join(dir, "heir")}))
	for _, tt := range []struct {
		name string
		e    *Engine
		want error
	}{
		{"a live socket of one that came later", late, fs.ErrExist},
		{"a directory that is not there", open(t, Config{Handover: filepath.Join(dir, "no", "heir")}), fs.ErrNotExist},
	} {
		if err := tt.e.Run(t.Context()); !errors.Is(err, tt.want) {
			t.Errorf("%s: Run says %v, want %v", tt.name, err, tt.want)
		}
	}
	if e, err := Open(Config{Handover: file}); err == nil {
		err = e.Run(t.Context())
		e.Close()
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("a file: Run says %v, want fs.ErrExist", err)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 {
		t.Errorf("in the directory are %v, %v, want the file and the socket", list, err)
	}
}

// Another user gets nothing, even where the mode of the socket lets him come.
func TestStrangerIsRefused(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "heir")
	runs(t, open(t, Config{Handover: path}))
	for name, mode := range map[string]fs.FileMode{path: 0o666, dir: 0o755, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	done := make(chan struct{})
	go func() { // its thread is another's, and ends with it
		defer close(done)
		runtime.LockOSThread()
		nobody := uintptr(65534)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			err = errno
			return
		}
		var conn *net.UnixConn
		if conn, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"}); err != nil {
			return
		}
		l := &link{conn: conn}
		defer l.close()
		if err = l.send(messageTake, nil, nil); err == nil {
			_, err = l.receive(messageEstate, handoverPatience)
		}
	}()
	<-done
	if errors.Is(err, unix.EINVAL) {
		t.Skip("there is one user only in this user namespace")
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("another user hears %v, want that the other side closes", err)
	}
}
