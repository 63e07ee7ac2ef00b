package ipvs

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func littleEndian(t *testing.T) {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the bytes are those of a little-endian machine")
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		panic(err)
	}
	return b
}

func TestMessageBytes(t *testing.T) {
	littleEndian(t)
	var e encoder
	e.change(0x21, flagRequest|flagAck, 7, &Change{
		Op:      AddDestination,
		Service: Service{ID: ServiceID{Protocol: TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")}},
		Destination: Destination{
			Addr: netip.MustParseAddrPort("[fd00::5]:80"), Forward: ForwardTunnel, Weight: 65537,
			Upper: 10, Lower: 5, Tunnel: Tunnel{Type: GUE, Port: 6080, Flags: TunnelRemCsum},
		},
	})
	want := unhex(`
		98000000 2100 0500 07000000 00000000  05 01 0000
		2400 0100
			0600 0100 02000000
			0600 0200 06000000
			0800 0300 c0000201
			0600 0400 00500000
		6000 0200
			1400 0100 fd000000000000000000000000000005
			0600 0200 00500000
			0600 0b00 0a000000
			0800 0300 02000000
			0800 0400 01000100
			0800 0500 0a000000
			0800 0600 05000000
			0500 0d00 01000000
			0600 0e00 17c00000
			0600 0f00 02000000`)
	if !slices.Equal(e.b, want) {
		t.Errorf("encoded\n%x, want\n%x", e.b, want)
	}
}

// roundTrip encodes as a program does and decodes as if it were the kernel's
// answer, which has the same attributes.
func roundTrip(t *testing.T, s Service) Service {
	t.Helper()
	var e encoder
	e.end(func() int { mark := e.begin(1, cmdNewService, 0, 1); e.service(&s); return mark }())
	m, rest, err := nextMessage(e.b)
	if err != nil || len(rest) != 0 {
		t.Fatalf("%d bytes left, err %v", len(rest), err)
	}
	b, err := m.attributes()
	must(t, err)
	var got ServiceStatus
	err = decodeService(b, &got, withStats)
	must(t, err)
	for _, d := range s.Destinations {
		e.b = e.b[:0]
		mark := e.begin(1, cmdNewDest, 0, 1)
		e.dest(&d)
		e.end(mark)
		m, _, err := nextMessage(e.b)
		must(t, err)
		b, err := m.attributes()
		must(t, err)
		var ds DestinationStatus
		must(t, decodeDest(b, &ds, s.ID.AddressFamily(), withStats))
		got.Service.Destinations = append(got.Service.Destinations, ds.Destination)
	}
	return got.Service
}

func TestWhatIsEncodedIsDecodedInNormalForm(t *testing.T) {
	for seed := range uint64(2000) {
		s := randomService(rand.New(rand.NewPCG(seed, 1)))
		if got, want := roundTrip(t, s), s.Normal(); !sameService(got, want) {
			t.Fatalf("seed %d: got\n%+v, want\n%+v", seed, got, want)
		}
	}
}

// sameService compares services in normal form, whatever the order of their
// destinations.
func sameService(a, b Service) bool {
	da, db := slices.Clone(a.Destinations), slices.Clone(b.Destinations)
	byAddr := func(x, y Destination) int { return x.Addr.Compare(y.Addr) }
	slices.SortFunc(da, byAddr)
	slices.SortFunc(db, byAddr)
	return a.ID == b.ID && a.Scheduler == b.Scheduler && a.Flags == b.Flags &&
		a.Persistence == b.Persistence && slices.Equal(da, db)
}

// answer builds the attributes of an answer.
func answer(typ uint16, build func(*encoder)) []byte {
	var e encoder
	mark := e.nest(typ)
	build(&e)
	e.endNest(mark)
	return e.b
}

func TestDecodeServiceOfOtherPrograms(t *testing.T) {
	base := func(flags, timeout, mask uint32) []byte {
		return answer(attrService, func(e *encoder) {
			e.u16(attrSvcAF, afINET)
			e.u32(attrSvcFWMark, 7)
			e.str(attrSvcSched, "outsider")
			e.header(attrSvcFlags, 8)
			e.b = appendU32(e.b, flags, flagsAll)
			e.u32(attrSvcTimeout, timeout)
			e.be32(attrSvcNetmask, mask)
		})
	}
	for name, c := range map[string]struct {
		in    []byte
		flags Flags
		want  Persistence
	}{
		"a mask with holes reads as its leading ones":          {base(3, 60, 0xff00ff00), 0, Persistence{Timeout: time.Minute, Mask: 8}},
		"a mask without leading ones is all clients":           {base(3, 60, 0x00ffffff), 0, Persistence{Timeout: time.Minute, Mask: MaskAll}},
		"a full mask is zero":                                  {base(3, 60, 0xffffffff), 0, Persistence{Timeout: time.Minute}},
		"without persistence there is no timeout and no mask":  {base(2|4, 360, 0xffffff00), OnePacket, Persistence{}},
		"persistence for no time differs from all that we set": {base(3, 0, 0xffffffff), flagPersistent, Persistence{}},
		"a timeout of 136 years":                               {base(3, 1<<32-1, 0xffffffff), 0, Persistence{Timeout: (1<<32 - 1) * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			var s ServiceStatus
			must(t, decodeService(c.in, &s, withStats))
			if s.ID != (ServiceID{FWMark: 7}) || s.Scheduler != "outsider" || s.Flags != c.flags || s.Persistence != c.want {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestStatsOf64BitsWinInEitherOrder(t *testing.T) {
	stats := func(e *encoder, typ uint16) {
		mark := e.nest(typ)
		for i := uint16(1); i <= 10; i++ {
			switch {
			case typ == attrDestStats64:
				e.header(i, 8)
				e.b = binary.NativeEndian.AppendUint64(e.b, 1<<40+uint64(i))
				e.header(11, 0) // padding
			case i == 4 || i == 5:
				e.header(i, 8)
				e.b = binary.NativeEndian.AppendUint64(e.b, uint64(i))
			default:
				e.u32(i, uint32(i))
			}
		}
		e.endNest(mark)
	}
	dest := func(types ...uint16) Stats {
		var d DestinationStatus
		must(t, decodeDest(answer(attrDest, func(e *encoder) {
			e.addr(attrDestAddr, netip.MustParseAddr("10.0.0.1"))
			for _, typ := range types {
				stats(e, typ)
			}
		}), &d, IPv4, withStats))
		return d.Stats
	}
	const b = 1 << 40
	want64 := Stats{b + 1, b + 2, b + 3, b + 4, b + 5, b + 6, b + 7, b + 8, b + 9, b + 10}
	if got := dest(attrDestStats, attrDestStats64); got != want64 {
		t.Errorf("64 bits last: %+v", got)
	}
	if got := dest(attrDestStats64, attrDestStats); got != want64 {
		t.Errorf("64 bits first: %+v", got)
	}
	if got := dest(attrDestStats); got != (Stats{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Errorf("32 bits: %+v", got)
	}
}

func TestDecodeRefusesWhatItCannotTell(t *testing.T) {
	v4 := netip.MustParseAddr("10.0.0.1")
	for name, in := range map[string][]byte{
		"nothing":                   {},
		"no service":                answer(attrDest, func(*encoder) {}),
		"a service without family":  answer(attrService, func(e *encoder) { e.u32(attrSvcFWMark, 1) }),
		"a service of family 3":     answer(attrService, func(e *encoder) { e.u16(attrSvcAF, 3) }),
		"a service without address": answer(attrService, func(e *encoder) { e.u16(attrSvcAF, afINET) }),
		"a short address":           answer(attrService, func(e *encoder) { e.u16(attrSvcAF, afINET6); e.addr(attrSvcAddr, v4) }),
		"a long scheduler":          answer(attrService, func(e *encoder) { e.str(attrSvcSched, strings.Repeat("x", 16)) }),
	} {
		var s ServiceStatus
		if err := decodeService(in, &s, withStats); err == nil {
			t.Errorf("%s: decoded %+v", name, s)
		}
	}
	for name, in := range map[string][]byte{
		"no address":           answer(attrDest, func(e *encoder) { e.u32(attrDestWeight, 1) }),
		"a family of 3":        answer(attrDest, func(e *encoder) { e.addr(attrDestAddr, v4); e.u16(attrDestAF, 3) }),
		"a forwarding of 5":    answer(attrDest, func(e *encoder) { e.addr(attrDestAddr, v4); e.u32(attrDestForward, 5) }),
		"a weight of one byte": answer(attrDest, func(e *encoder) { e.addr(attrDestAddr, v4); e.u8(attrDestWeight, 5) }),
	} {
		var d DestinationStatus
		if err := decodeDest(in, &d, IPv4, withStats); err == nil {
			t.Errorf("%s: decoded %+v", name, d)
		}
	}
}

func TestEveryCutIsAnError(t *testing.T) {
	var e encoder
	s := Service{ID: ServiceID{Protocol: UDP, Addr: netip.MustParseAddrPort("[2001:db8::]:53")}, Scheduler: RR}
	mark := e.begin(1, cmdNewService, 0, 1)
	e.service(&s)
	e.end(mark)
	for n := range len(e.b) {
		if _, _, err := nextMessage(e.b[:n]); !errors.Is(err, errTruncated) {
			t.Errorf("%d of %d bytes: err %v", n, len(e.b), err)
		}
	}
	attributes := e.b[netlinkHeaderSize+genericHeaderSize:]
	for n := range len(attributes) {
		if err := decodeService(attributes[:n], new(ServiceStatus), withStats); err == nil {
			t.Errorf("%d of %d bytes of attributes: no error", n, len(attributes))
		}
	}
}

func TestErrorNumbers(t *testing.T) {
	for _, c := range []struct {
		m    message
		want int
		bad  bool
	}{
		{message{typ: messageError, data: appendU32(nil, 0)}, 0, false},
		{message{typ: messageError, data: appendU32(nil, 1<<32-3)}, 3, false},
		{message{typ: messageDone}, 0, false},
		{message{typ: messageError}, 0, true},
		{message{typ: messageError, data: appendU32(nil, 5)}, 0, true},
		{message{typ: messageError, data: appendU32(nil, 1<<31)}, 0, true},
	} {
		if got, err := c.m.errno(); got != c.want || (err != nil) != c.bad {
			t.Errorf("%+v: %d, %v", c.m, got, err)
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	b := answer(attrDest, func(e *encoder) {
		e.addr(attrDestAddr, netip.MustParseAddr("10.0.0.1"))
		e.u32(attrDestWeight, 1)
		e.endNest(e.nest(attrDestStats64))
	})
	n := testing.AllocsPerRun(100, func() {
		var d DestinationStatus
		if err := decodeDest(b, &d, IPv4, withStats); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEncodeDoesNotAllocate(t *testing.T) {
	var e encoder
	s := Service{ID: ServiceID{Protocol: TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")}}
	changes := []Change{
		{Op: AddService, Service: s},
		{Op: AddDestination, Service: s, Destination: Destination{Addr: netip.MustParseAddrPort("[fd00::1]:80"), Forward: ForwardTunnel}},
		{Op: RemoveDestination, Service: s, Destination: Destination{Addr: netip.MustParseAddrPort("10.0.0.1:80")}},
	}
	n := testing.AllocsPerRun(100, func() {
		e.b = e.b[:0]
		for i := range changes {
			e.change(1, 0, 1, &changes[i])
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDecode feeds the decoders as a broken or hostile kernel would.
func FuzzDecode(f *testing.F) {
	var e encoder
	s := Service{ID: ServiceID{FWMark: 7, Family: IPv6}, Scheduler: MH, Persistence: Persistence{Timeout: time.Minute, Engine: "sip"}}
	mark := e.begin(1, cmdNewService, 0, 1)
	e.service(&s)
	e.end(mark)
	f.Add(slices.Clone(e.b))
	e.b = e.b[:0]
	e.change(1, 0, 1, &Change{Op: AddDestination, Service: s, Destination: Destination{Addr: netip.MustParseAddrPort("10.0.0.1:80")}})
	f.Add(slices.Clone(e.b))
	e.b = e.b[:0]
	mark = e.begin(1, cmdNewDaemon, 0, 1)
	e.daemon(Daemon{State: DaemonMaster, Interface: "eth0", Group: netip.MustParseAddr("ff02::51"), Port: 1})
	e.end(mark)
	f.Add(slices.Clone(e.b))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		for n := 0; len(datagram) > 0; n++ {
			m, rest, err := nextMessage(datagram)
			if err != nil {
				return
			}
			if len(rest) >= len(datagram) {
				t.Fatal("no progress")
			}
			datagram = rest
			_, _ = m.errno()
			b, err := m.attributes()
			if err != nil {
				continue
			}
			var s ServiceStatus
			if err := decodeService(b, &s, withStats); err == nil {
				if id := s.ID; id.FWMark == 0 && !id.Addr.IsValid() {
					t.Errorf("a service without a name: %+v", s)
				}
			}
			var d DestinationStatus
			if err := decodeDest(b, &d, IPv4, withStats); err == nil && !d.Addr.IsValid() {
				t.Errorf("a destination without an address: %+v", d)
			}
			_, _ = decodeDaemon(b)
			_, _ = decodeTimeouts(b)
			_, _ = decodeInfo(b)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
