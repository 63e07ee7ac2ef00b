package vrrp

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/bpf"
)

func TestTheFilterLetsItsVRIDsPass(t *testing.T) {
	var vrids [256]bool
	for _, v := range []int{1, 31, 32, 51, 128, 254, 255} {
		vrids[v] = true
	}
	for _, p := range []port{{"", false, protocolVRRP}, {"", true, protocolVRRP}, {"", false, protocolAH}, {"", true, protocolAH}} {
		raw, err := filter(p, &vrids)
		if err != nil {
			t.Fatal(err)
		}
		prog, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatal("not disassembled")
		}
		vm, err := bpf.NewVM(prog)
		if err != nil {
			t.Fatal(err)
		}
		for _, options := range []int{0, 4, 40} {
			var head []byte
			if !p.six {
				head = make([]byte, 20+options)
				head[0] = byte(0x40 | (20+options)/4)
			}
			if p.protocol == protocolAH {
				head = append(head, make([]byte, ahHeader)...)
			}
			for v := range 256 {
				n, err := vm.Run(append(head, 0x31, byte(v), 100, 1))
				if err != nil || n > 0 != vrids[v] {
					t.Fatalf("%+v, %d bytes of options, VRID %d: %d bytes pass (%v)", p, options, v, n, err)
				}
			}
			if n, _ := vm.Run(append(head, 0x31)); n == 0 {
				t.Errorf("%+v: what is too short is dropped", p)
			}
		}
	}
}

func TestTheSourceThatIsChosen(t *testing.T) {
	a := func(s string, marks string) linkAddr {
		p := netip.MustParsePrefix(s)
		has := func(c byte) bool { return bytes.IndexByte([]byte(marks), c) >= 0 }
		return linkAddr{
			addr: p.Addr(), bits: p.Bits(), global: !has('l'), secondary: has('s'),
			tentative: has('t'), temporary: has('p'), virtual: has('v'),
		}
	}
	tests := []struct {
		name                 string
		addrs                []linkAddr
		wanted               string
		six, global, isOwner bool
		want                 string
	}{
		{name: "the first", addrs: []linkAddr{a("10.0.0.1/24", ""), a("10.0.1.1/24", "")}, want: "10.0.0.1"},
		{name: "no virtual address", addrs: []linkAddr{a("10.0.0.100/24", ""), a("10.0.0.1/24", "s")}, want: "10.0.0.1"},
		{name: "nor as the last resort", addrs: []linkAddr{a("10.0.0.100/24", "")}},
		{name: "but for its owner", addrs: []linkAddr{a("10.0.0.100/24", "")}, isOwner: true, want: "10.0.0.100"},
		{name: "no host address if there is another", addrs: []linkAddr{a("10.9.9.9/32", ""), a("10.0.0.1/24", "")}, want: "10.0.0.1"},
		{name: "a host address if there is no other", addrs: []linkAddr{a("10.9.9.9/32", "")}, want: "10.9.9.9"},
		{name: "none of keepalived", addrs: []linkAddr{a("10.0.0.9/24", "v"), a("10.0.0.1/24", "s")}, want: "10.0.0.1"},
		{name: "unless there is no other", addrs: []linkAddr{a("10.0.0.9/24", "v")}, want: "10.0.0.9"},
		{name: "none of another scope", addrs: []linkAddr{a("169.254.0.1/16", "l")}},
		{name: "none of the other family", addrs: []linkAddr{a("fe80::1/64", "")}},
		{name: "the wanted one", addrs: []linkAddr{a("10.0.0.1/24", ""), a("10.0.0.2/24", "s")}, wanted: "10.0.0.2", want: "10.0.0.2"},
		{name: "the wanted one or none", addrs: []linkAddr{a("10.0.0.1/24", "")}, wanted: "10.0.0.2"},
		{name: "link-local", addrs: []linkAddr{a("2001:db8::1/64", ""), a("fe80::1/64", "")}, six: true, want: "fe80::1"},
		{name: "no tentative one", addrs: []linkAddr{a("fe80::1/64", "t")}, six: true},
		{name: "a global one for peers afar", addrs: []linkAddr{a("fe80::1/64", ""), a("2001:db8::2/64", "p"), a("2001:db8::1/64", "")}, six: true, global: true, want: "2001:db8::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var wanted, want netip.Addr
			if tt.wanted != "" {
				wanted = netip.MustParseAddr(tt.wanted)
			}
			if tt.want != "" {
				want = netip.MustParseAddr(tt.want)
			}
			vip := func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.100") }
			got := chooseSource(link{exists: true, addrs: tt.addrs}, wanted, tt.six, tt.global, tt.isOwner, vip)
			if got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestFramesFromTheVirtualMAC(t *testing.T) {
	src, dst := netip.MustParseAddr("10.0.0.1"), group4
	b := appendFrame(nil, &outgoing{port: port{protocol: protocolVRRP}, src: src, dst: dst, vrid: 51, payload: []byte{0x31, 51}})
	if !bytes.Equal(b[:14], []byte{1, 0, 0x5e, 0, 0, 18, 0, 0, 0x5e, 0, 1, 51, 8, 0}) {
		t.Errorf("head of the frame: % x", b[:14])
	}
	ip := b[14:]
	if fold(onesSum(0, ip[:20])) != 0xffff || ip[8] != 255 || ip[9] != 112 || len(ip) != 22 || int(ip[3]) != 22 {
		t.Errorf("IPv4 header: % x", ip)
	}
	var d datagram
	if !bytes.Equal(ip[12:16], src.AsSlice()) || !bytes.Equal(ip[16:20], dst.AsSlice()) {
		t.Errorf("addresses: % x %v", ip, d)
	}
	src, dst = netip.MustParseAddr("fe80::1"), group6
	b = appendFrame(nil, &outgoing{port: port{six: true, protocol: protocolVRRP}, src: src, dst: dst, vrid: 51, payload: []byte{0x31, 51}})
	if !bytes.Equal(b[:14], []byte{0x33, 0x33, 0, 0, 0, 18, 0, 0, 0x5e, 0, 2, 51, 0x86, 0xdd}) {
		t.Errorf("head of the frame: % x", b[:14])
	}
	if ip = b[14:]; ip[0] != 0x6c || ip[5] != 2 || ip[6] != 112 || ip[7] != 255 || len(ip) != 42 {
		t.Errorf("IPv6 header: % x", ip)
	}
}

func TestTheSchedule(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s schedule
	all := make([]*instance, 100)
	deadline := map[*instance]time.Duration{}
	for n := range all {
		all[n] = &instance{pos: -1}
	}
	for now := time.Duration(0); now < 10_000; now++ {
		i := all[rng.IntN(len(all))]
		deadline[i] = now + time.Duration(1+rng.IntN(300))
		s.set(i, deadline[i])
		for i := s.pop(now); i != nil; i = s.pop(now) {
			if deadline[i] > now { // it has moved away
				s.set(i, deadline[i])
				continue
			}
			delete(deadline, i)
		}
		for _, at := range deadline {
			if at <= now {
				t.Fatalf("at %d the deadline of %d has been missed", now, at)
			}
		}
	}
	if s.next() == never {
		t.Error("nothing left")
	}
}

func TestNobodyIsWokenForADeadlineThatHasMovedAway(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var s schedule
	all := make([]*instance, 100)
	for n := range all {
		all[n] = &instance{pos: -1, m: newMachine(&Config{}), hold: hold{retry: never, giveUp: never, forgive: never}, asked: question{until: never}}
	}
	for now := time.Duration(0); now < 10_000; now++ {
		i := all[rng.IntN(len(all))]
		i.linkDown = now + time.Duration(1+rng.IntN(300)) // stands for all that an instance waits for
		if rng.IntN(10) == 0 {
			i.linkDown = never
		}
		s.set(i, i.linkDown)
		want := never
		for _, i := range all {
			if i.pos >= 0 {
				want = min(want, i.linkDown)
			}
		}
		if got := s.first(); got != want {
			t.Fatalf("at %d the first deadline is %d, want %d", now, got, want)
		}
		for i := s.pop(now); i != nil; i = s.pop(now) {
			i.linkDown = never
		}
	}
}
