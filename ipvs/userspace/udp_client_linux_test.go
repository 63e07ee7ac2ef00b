package userspace

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestUDPClientKey(t *testing.T) {
	for _, text := range []string{"192.0.2.1:53", "[2001:db8::1]:65535", "[fe80::1%7]:0", "[::1]:1"} {
		want := netip.MustParseAddrPort(text)
		family := unix.AF_INET
		if is6(want.Addr()) {
			family = unix.AF_INET6
		}
		var name unix.RawSockaddrInet6
		putSockaddr(&name, family, want)
		if want.Addr().Zone() != "" {
			name.Scope_id = 7
		}
		key, ok := keyOf(&name)
		if got := key.client(); !ok || got != want {
			t.Errorf("%s is read as %s", want, got)
		}
	}
	if _, ok := keyOf(&unix.RawSockaddrInet6{Family: unix.AF_UNIX}); ok {
		t.Error("a path is taken for a client")
	}
}

func TestUDPClientKeyAllocatesNothing(t *testing.T) {
	var name unix.RawSockaddrInet6
	putSockaddr(&name, unix.AF_INET6, netip.MustParseAddrPort("[2001:db8::1]:53"))
	if n := testing.AllocsPerRun(100, func() {
		if key, _ := keyOf(&name); key.client().Port() != 53 {
			t.Error("another port")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzUDPClientKey reads what the kernel might write.
func FuzzUDPClientKey(f *testing.F) {
	f.Add([]byte{2, 0, 0, 53, 192, 0, 2, 1})
	f.Add([]byte{10, 0, 0, 53, 0, 0, 0, 0, 0xfe, 0x80, 27: 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		var name unix.RawSockaddrInet6
		copy((*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(&name))[:], b)
		key, ok := keyOf(&name)
		if known := name.Family == unix.AF_INET || name.Family == unix.AF_INET6; ok != known {
			t.Fatalf("family %d: %v", name.Family, ok)
		}
		if !ok {
			return
		}
		client := key.client()
		if port := binary.BigEndian.Uint16(append(b, 0, 0, 0, 0)[2:]); client.Port() != port {
			t.Errorf("port %d is read as %d", port, client.Port())
		}
		var again unix.RawSockaddrInet6
		putSockaddr(&again, int(name.Family), client)
		again.Scope_id = key.scope
		if other, ok := keyOf(&again); !ok || other != key {
			t.Errorf("%v is written as %v", key, other)
		}
	})
}
