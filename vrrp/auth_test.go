package vrrp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The wire images of draft-cassen-vrrp-auth-hmac, appendix: key 00..1f, VRID 51.
func TestHMACImagesOfTheDraft(t *testing.T) {
	for _, tt := range []struct {
		name, src, dst, vip string
		form                Checksum
		image               string
	}{
		{"IPv4", "198.51.100.10", "192.0.2.20", "192.0.2.100", MessageOnly, "3133c80100644402c00002640101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265"},
		{"IPv6", "fe80::10", "fe80::20", "fe80::100", PseudoHeader, "3133c8010064a2e9fe800000000000000000000000000100010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testWire(t, func(c *Config) {
				hmacConfig(c)
				c.Addresses, c.Peers, c.Checksum, c.Priority = addrs(tt.vip), addrs(tt.src), tt.form, 200
			})
			image, _ := hex.DecodeString(tt.image)
			h := w.headerFor(tt.src)
			h.dst = netip.MustParseAddr(tt.dst)
			at := time.Unix(0x68000000, 500_000_000)
			var p Packet
			if d := w.decode(&p, h, image, at); d != DropNone {
				t.Fatal("dropped: ", d)
			}
			if have := w.encode(nil, &p, h.src, h.dst, at); hex.EncodeToString(have) != tt.image {
				t.Errorf("have %x\nwant %s", have, tt.image)
			}
		})
	}
}

// hmacPair is a sender and a receiver.
func hmacPair(t *testing.T, sender, receiver func(*HMAC)) (from, to *wire) {
	pair := [2]*wire{}
	for i, set := range []func(*HMAC){sender, receiver} {
		pair[i] = testWire(t, func(c *Config) {
			c.Auth = Auth{Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{1, secret(0)}}}}
			if set != nil {
				set(&c.Auth.HMAC)
			}
		})
	}
	return pair[0], pair[1]
}

// pass sends what from sends at one time to to at another.
func pass(from, to *wire, sent, received time.Time) Drop {
	h, p := from.headerFor("192.0.2.2"), from.packetOf()
	msg := from.send(&p, &h, sent)
	return to.decode(&Packet{}, h, msg, received)
}

func TestHMACRollOut(t *testing.T) {
	mode := func(m HMACMode) func(*HMAC) { return func(h *HMAC) { h.Mode = m } }
	const none = HMACMode(9) // not configured yet
	for _, tt := range []struct {
		from, to HMACMode
		want     Drop
	}{
		{none, HMACReceive, DropNone},
		{none, HMACPermissive, DropNone},
		{none, HMACEnforce, DropAuthType},
		{HMACReceive, none, DropNone},
		{HMACReceive, HMACReceive, DropNone},
		{HMACReceive, HMACPermissive, DropNone},
		{HMACReceive, HMACEnforce, DropAuthType},
		{HMACPermissive, none, DropAuthType},
		{HMACPermissive, HMACReceive, DropNone},
		{HMACPermissive, HMACPermissive, DropNone},
		{HMACPermissive, HMACEnforce, DropNone},
		{HMACEnforce, HMACPermissive, DropNone},
		{HMACEnforce, HMACEnforce, DropNone},
	} {
		from, to := hmacPair(t, mode(tt.from%9), mode(tt.to%9))
		if tt.from == none {
			from = testWire(t, nil)
		}
		if tt.to == none {
			to = testWire(t, nil)
		}
		if d := pass(from, to, testTime, testTime); d != tt.want {
			t.Errorf("from %v to %v: %v, want %v", tt.from, tt.to, d, tt.want)
		}
	}
}

func TestHMACKeysAreChangedWithoutALoss(t *testing.T) {
	old, fresh := Key{1, secret(0)}, Key{2, secret(100)}
	steps := [][]HMAC{
		{{Keys: []Key{old}}, {Keys: []Key{old, fresh}, Active: 1}},
		{{Keys: []Key{old, fresh}, Active: 1}, {Keys: []Key{old, fresh}, Active: 2}},
		{{Keys: []Key{old, fresh}, Active: 2}, {Keys: []Key{fresh}}},
	}
	from, to := hmacPair(t, nil, nil)
	now := testTime
	for i, step := range steps {
		for _, mine := range step {
			for _, theirs := range step {
				for w, m := range map[*wire]HMAC{from: mine, to: theirs} {
					c := *w.cfg
					c.Auth.HMAC = m
					c, err := c.normal()
					if err != nil {
						t.Fatal(err)
					}
					w.config(&c)
				}
				now = now.Add(time.Second)
				if d := pass(from, to, now, now); d != DropNone {
					t.Errorf("step %d: %v", i, d)
				}
			}
		}
	}
}

func TestReplayWithHMAC(t *testing.T) {
	window := func(h *HMAC) { h.Window = 5 * time.Second }
	none := func(h *HMAC) { h.NoWindow = true }
	late := func(s int) time.Time { return testTime.Add(time.Duration(s) * time.Second) }
	for _, tt := range []struct {
		name     string
		set      func(*HMAC)
		received time.Time
		want     Drop
	}{
		{"at once", window, testTime, DropNone},
		{"as late as the window", window, late(5), DropNone},
		{"later", window, late(6), DropClock},
		{"as early as the window", window, late(-5), DropNone},
		{"earlier", window, late(-6), DropClock},
		{"late without a window", none, late(3600), DropNone},
		{"early without a window", none, late(-3600), DropNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, to := hmacPair(t, tt.set, tt.set)
			h, p, out := from.headerFor("192.0.2.2"), from.packetOf(), Packet{}
			first := from.send(&p, &h, testTime)
			if d := to.decode(&out, h, first, tt.received); d != tt.want {
				t.Fatalf("have %v, want %v", d, tt.want)
			}
			if tt.want != DropNone {
				return
			}
			second := from.send(&p, &h, testTime) // the same time: the counter goes on
			for i, step := range []struct {
				msg  []byte
				want Drop
			}{{first, DropReplay}, {second, DropNone}, {first, DropReplay}, {second, DropReplay}} {
				if d := to.decode(&out, h, step.msg, tt.received); d != step.want {
					t.Errorf("step %d: %v, want %v", i, d, step.want)
				}
			}
			from, _ = hmacPair(t, tt.set, nil) // another router, which is at the first number
			h.src = netip.MustParseAddr("192.0.2.3")
			if d := to.decode(&out, h, from.send(&p, &h, testTime), tt.received); d != DropNone {
				t.Errorf("another source has a sequence of its own: %v", d)
			}
		})
	}
}

func TestHMACAfterAStepOfTheClock(t *testing.T) {
	from, to := hmacPair(t, nil, nil)
	ahead := testTime.Add(time.Hour)
	for _, step := range []struct {
		name           string
		sent, received time.Time
		want           Drop
	}{
		{"both clocks are an hour ahead", ahead, ahead, DropNone},
		{"the receiver's is set right", ahead, testTime, DropClock},
		{"the sender's too", testTime, testTime, DropNone},
		{"and goes on", testTime.Add(time.Second), testTime.Add(time.Second), DropNone},
		{"the sender's goes a little back", testTime, testTime.Add(time.Second), DropNone},
		{"and is right again", testTime.Add(2 * time.Second), testTime.Add(2 * time.Second), DropNone},
	} {
		if d := pass(from, to, step.sent, step.received); d != step.want {
			t.Errorf("%s: %v, want %v", step.name, d, step.want)
		}
	}
	from, to = hmacPair(t, func(h *HMAC) { h.NoWindow = true }, func(h *HMAC) { h.NoWindow = true })
	for i, sent := range []time.Time{ahead, testTime, testTime} {
		if d := pass(from, to, sent, testTime); d != DropNone {
			t.Errorf("without a window, %d: %v", i, d)
		}
	}
}

func TestReplayWithAH(t *testing.T) {
	a, b, to := testWire(t, ahConfig), testWire(t, ahConfig), testWire(t, ahConfig)
	p := a.packetOf()
	packet := func(w *wire, src string) func() Drop {
		h := w.headerFor(src)
		msg := w.send(&p, &h, testTime)
		return func() Drop { return to.decode(&Packet{}, h, msg, testTime) }
	}
	first, second := packet(a, "192.0.2.2"), packet(a, "192.0.2.2")
	other := packet(b, "192.0.2.3")
	for i, step := range []struct {
		send func() Drop
		want Drop
	}{{first, DropNone}, {first, DropReplay}, {second, DropNone}, {first, DropReplay}, {other, DropNone}, {other, DropReplay}} {
		if d := step.send(); d != step.want {
			t.Errorf("step %d: %v, want %v", i, d, step.want)
		}
	}
	// keepalived has one sequence for all senders: who takes over must go on above it.
	a.ah.seq = 4_000_000_000
	if d := packet(a, "192.0.2.2")(); d != DropNone || to.ah.seq != 4_000_000_001 {
		t.Errorf("%v, and the highest number seen is %d", d, to.ah.seq)
	}
	h := to.headerFor("192.0.2.4")
	if msg := to.send(&p, &h, testTime); string(msg[8:12]) != string([]byte{0xee, 0x6b, 0x28, 0x02}) {
		t.Errorf("the number sent is %x, want ee6b2802", msg[8:12])
	}
}

// The digest is right, but of a sender that has another address.
func TestAHRefusesAnotherSPI(t *testing.T) {
	from, to := testWire(t, ahConfig), testWire(t, ahConfig)
	h, p := from.headerFor("192.0.2.2"), from.packetOf()
	for _, flip := range []byte{0, 1} {
		msg := from.send(&p, &h, testTime)
		msg[7] ^= flip
		clear(msg[ahDigestOff:ahLen])
		ip := bytes.Clone(h.ip)
		maskIP(ip, true)
		from.ah.digest(ip, msg)
		copy(msg[ahDigestOff:ahLen], from.ah.sum[:])
		want := DropNone
		if flip != 0 {
			want = DropAuthData
		}
		if d := to.decode(&Packet{}, h, msg, testTime); d != want {
			t.Errorf("flipped by %d: %v, want %v", flip, d, want)
		}
	}
}

func TestAHAfterARestart(t *testing.T) {
	to := testWire(t, ahConfig)
	for i := range 10 {
		from := testWire(t, ahConfig) // a new program each time
		now := testTime.Add(time.Duration(i) * 2 * time.Second)
		for range 2 {
			if d := pass(from, to, now, now); d != DropNone {
				t.Fatalf("start %d: %v", i, d)
			}
			now = now.Add(time.Second)
		}
	}
}

// The bits are signed, and yet of an extension that we do not know.
func TestHMACRefusesReservedBits(t *testing.T) {
	from, to := hmacPair(t, nil, nil)
	h, p := from.headerFor("192.0.2.2"), from.packetOf()
	for off := 2; off < 4; off++ {
		msg := from.send(&p, &h, testTime)
		body, trailer := msg[:len(msg)-trailerLen], msg[len(msg)-trailerLen:]
		trailer[off] = 1
		copy(trailer[trailerDigestOff:], from.hmac.digest(from.hmac.key(1), h.src, body, trailer))
		if d := to.decode(&Packet{}, h, msg, testTime); d != DropAuthData {
			t.Errorf("byte %d: %v, want %v", off, d, DropAuthData)
		}
	}
}

func TestReplayTableHasBounds(t *testing.T) {
	w := testWire(t, ahConfig)
	for i := range 1000 {
		seq, known := w.ah.seen.mark(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		if known {
			t.Fatalf("source %d is known", i)
		}
		*seq = uint64(i)
		if seq, known := w.ah.seen.mark(netip.MustParseAddr("10.0.0.0")); !known || *seq != 0 {
			t.Fatalf("after %d sources one that is always heard is forgotten", i)
		}
	}
	if n := len(w.ah.seen.marks); n != replaySources {
		t.Errorf("%d sources, want %d", n, replaySources)
	}
	many := testWire(t, func(c *Config) {
		ahConfig(c)
		for i := range 100 {
			c.Peers = append(c.Peers, netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}))
		}
	})
	w.config(many.cfg)
	for _, w := range []*wire{w, many} {
		if n := cap(w.ah.seen.marks); n != 100 {
			t.Errorf("room for %d sources, want all 100 peers", n)
		}
	}
	if _, known := w.ah.seen.mark(netip.MustParseAddr("10.0.0.0")); !known {
		t.Error("an Update forgets what was seen")
	}
}

func TestPrintingAConfigShowsNoSecret(t *testing.T) {
	c := plainConfig()
	c.Auth = Auth{Kind: AuthHMAC, Password: "PASSWORD", HMAC: HMAC{Keys: []Key{{1, []byte(strings.Repeat("SECRET", 6))}}}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{c, &c, c.Auth, c.Auth.HMAC, c.Auth.HMAC.Keys} {
			s := fmt.Sprintf(format, v)
			if strings.Contains(s, "PASSWORD") || strings.Contains(s, "SECRET") || strings.Contains(s, "83, 69") || strings.Contains(s, "0x53, 0x45") {
				t.Errorf("%s of %T: %s", format, v, s)
			}
		}
	}
}

func TestText(t *testing.T) {
	for i, want := range []string{"none", "pass", "ah", "hmac"} {
		k := AuthKind(77)
		if err := k.UnmarshalText([]byte(want)); err != nil || k != AuthKind(i) || k.String() != want {
			t.Errorf("%q is %v, %v", want, k, err)
		}
	}
	for i, want := range []string{"enforce", "permissive", "receive-only"} {
		m := HMACMode(77)
		if err := m.UnmarshalText([]byte(want)); err != nil || m != HMACMode(i) || m.String() != want {
			t.Errorf("%q is %v, %v", want, m, err)
		}
	}
	for i, want := range []string{"pseudo-header", "message-only"} {
		c := Checksum(77)
		if err := c.UnmarshalText([]byte(want)); err != nil || c != Checksum(i) || c.String() != want {
			t.Errorf("%q is %v, %v", want, c, err)
		}
	}
	k := AuthPass
	if err := k.UnmarshalText([]byte("md5")); err == nil || k != AuthPass || !strings.Contains(err.Error(), "want one of none, pass, ah, hmac") {
		t.Errorf("%v, %v", k, err)
	}
}
