package userspace

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/ipvs"
)

// towards is a connection of a client to a real server, which nobody has
// scheduled.
func towards(to, client netip.AddrPort, source Source) *connection {
	return &connection{
		service: &service{Service: ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: to}}, source: source},
		dest:    &destination{Destination: ipvs.Destination{Addr: to}}, client: client,
	}
}

func TestDial(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		tcp := serve(t, host, func(*net.TCPConn) {})
		udp, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		for _, tt := range []struct {
			name string
			to   netip.AddrPort
			typ  int
		}{
			{"TCP", tcp, unix.SOCK_STREAM},
			{"UDP", udp.LocalAddr().(*net.UDPAddr).AddrPort(), unix.SOCK_DGRAM},
		} {
			fd, _, err := new(worker).dial(towards(tt.to, netip.AddrPort{}, SourceLocal), tt.typ)
			if err != nil {
				t.Errorf("%s %s: %v", tt.name, tt.to, err)
				continue
			}
			if sa, err := unix.Getpeername(fd); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			} else if got := sockAddr(sa); got != tt.to {
				t.Errorf("%s: connected with %s, want %s", tt.name, got, tt.to)
			}
			flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			closes, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if flags&unix.O_NONBLOCK == 0 || closes&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s: the descriptor has flags %x and %x, want O_NONBLOCK and FD_CLOEXEC", tt.name, flags, closes)
			}
			if on, _ := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); on == 0 && tt.typ == unix.SOCK_STREAM {
				t.Error("TCP_NODELAY is not set")
			}
			unix.Close(fd)
		}
	}
}

func sockAddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func TestDialAllocatesNothing(t *testing.T) {
	to := freeAddr(t, "127.0.0.1")
	listening, err := listenOne(to, 1000, false) // nobody takes them: that would allocate
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listening)
	w, c := new(worker), towards(to, netip.AddrPort{}, SourceLocal)
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		if n := testing.AllocsPerRun(100, func() {
			fd, _, err := w.dial(c, typ)
			if err != nil {
				t.Fatal(err)
			}
			rawClose(fd)
		}); n != 0 {
			t.Errorf("type %d: %v allocations, want none", typ, n)
		}
	}
}

// Nobody listens: the error comes at once or by the socket.
func TestDialIsRefused(t *testing.T) {
	before := descriptors(t)
	fd, connected, err := new(worker).dial(towards(freeAddr(t, "127.0.0.1"), netip.AddrPort{}, SourceLocal), unix.SOCK_STREAM)
	if err == nil {
		var n int
		if n, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
			err = unix.Errno(n)
		}
		unix.Close(fd)
	}
	if connected || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connected is %v, the error is %v, want ECONNREFUSED", connected, err)
	}
	if n := descriptors(t); n > before {
		t.Errorf("%d descriptors are open, want %d", n, before)
	}
}

// All local ports are taken: it is said what to do.
func TestLocalPortsRunOut(t *testing.T) {
	l := labtest.New(t)
	h := labtest.Host(t, l, "director")
	err := h.Do(func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40009"), 0); err != nil {
			return err
		}
		ln, err := net.Listen("tcp", "127.0.0.1:80")
		if err != nil {
			return err
		}
		defer ln.Close()
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			var fds []int
			for {
				fd, _, err := new(worker).dial(towards(netip.MustParseAddrPort("127.0.0.1:80"), netip.AddrPort{}, SourceLocal), typ)
				if err != nil {
					if !strings.Contains(err.Error(), "net.ipv4.ip_local_port_range") {
						t.Errorf("type %d: the error is %q", typ, err)
					}
					break
				}
				if fds = append(fds, fd); len(fds) > 10 {
					t.Error("more sockets than ports")
					break
				}
			}
			if len(fds) != 10 {
				t.Errorf("type %d: %d sockets of 10 ports", typ, len(fds))
			}
			closeAll(fds)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDialErrorSaysWhatToDo(t *testing.T) {
	to, client := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("192.0.2.7:4242")
	for _, tt := range []struct {
		err     *dialError
		matches error
		text    string
	}{
		{&dialError{step: "socket", to: to, errno: unix.EMFILE}, unix.EMFILE, "RLIMIT_NOFILE"},
		{&dialError{step: "socket", to: to, errno: unix.ENFILE}, unix.ENFILE, "fs.file-max"},
		{&dialError{step: "connect", to: to, errno: unix.EADDRNOTAVAIL}, unix.EADDRNOTAVAIL, "ip_local_port_range"},
		{&dialError{step: "connect", to: to, from: client, errno: unix.EADDRNOTAVAIL}, unix.EADDRNOTAVAIL, "the client 192.0.2.7:4242"},
		{&dialError{step: "set IP_TRANSPARENT", to: to, from: client, errno: unix.EPERM}, fs.ErrPermission, "CAP_NET_ADMIN"},
		{&dialError{step: "connect", to: to, errno: unix.EACCES}, fs.ErrPermission, "firewall"},
		{&dialError{step: "connect", to: to, errno: unix.ENETUNREACH}, unix.ENETUNREACH, "no route"},
		{&dialError{step: "bind", to: to, from: client, errno: unix.EAFNOSUPPORT}, unix.EAFNOSUPPORT, "other family"},
		{&dialError{step: "connect", to: to, errno: unix.ECONNREFUSED}, unix.ECONNREFUSED, "10.0.0.1:80: connect: connection refused"},
	} {
		if !errors.Is(tt.err, tt.matches) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%q does not match %v or lacks %q", tt.err, tt.matches, tt.text)
		}
	}
}

// A transparent source without the rights is refused with the service.
func TestTransparentSourceNeedsRights(t *testing.T) {
	var err error
	done := make(chan struct{})
	go func() { // its thread has no rights, and ends with it
		defer close(done)
		runtime.LockOSThread()
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err = unix.Capset(&h, &make([]unix.CapUserData, 2)[0]); err != nil {
			return
		}
		var e *Engine
		if e, err = Open(Config{Source: func(ipvs.ServiceID) Source { return SourceTransparent }}); err != nil {
			return
		}
		defer e.Close()
		err = e.AddService(t.Context(), ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: freeAddr(t, "127.0.0.1")}})
		if have, _ := e.Services(t.Context()); len(have) != 0 {
			t.Errorf("%d services are in the table", len(have))
		}
	}()
	<-done
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("the error is %v, want fs.ErrPermission and CAP_NET_ADMIN", err)
	}
}
