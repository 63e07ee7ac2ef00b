package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// datagramServer answers each datagram to a port of this machine with those that fn
// makes of it.
func datagramServer(t testing.TB, fn func(query []byte) [][]byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, reply := range fn(append([]byte(nil), buf[:n]...)) {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

// ask is a question about www.test.
var ask = DNS{Name: "www.test", Type: DNSTypeA, Answer: true}

// reply answers a query, as change has it.
func reply(t testing.TB, query []byte, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Errorf("the query is unreadable: %v", err)
		return nil
	}
	m.Response = true
	if len(m.Questions) == 1 {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}},
		}}
	}
	if change != nil {
		change(&m)
	}
	msg, err := m.Pack()
	if err != nil {
		t.Errorf("pack: %v", err)
	}
	return msg
}

var errAny = errors.New("any failure")

// replies are answers to ask, and what they mean: nil passes.
var replies = []struct {
	name   string
	change func(*dnsmessage.Message)
	raw    func([]byte) []byte
	want   error
	text   string
}{
	{name: "a record"},
	{name: "in other letters", change: func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("WwW.TEST.") }},
	{name: "from an authority", change: func(m *dnsmessage.Message) { m.Authoritative, m.RecursionAvailable = true, true }},
	{name: "another ID", change: func(m *dnsmessage.Message) { m.ID++ }, want: errForeign},
	{name: "a query", change: func(m *dnsmessage.Message) { m.Response = false }, want: errForeign},
	{name: "another opcode", change: func(m *dnsmessage.Message) { m.OpCode = 4 }, want: errForeign},
	{name: "another name", change: func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("ww.test.") }, want: errForeign},
	{name: "another type", change: func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeAAAA }, want: errForeign},
	{name: "another class", change: func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }, want: errForeign},
	{name: "no question", change: func(m *dnsmessage.Message) { m.Questions = nil }, want: errForeign},
	{name: "two questions", change: func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }, want: errForeign},
	{name: "FORMERR", change: func(m *dnsmessage.Message) { m.RCode = 1 }, want: errAny, text: "FORMERR"},
	{name: "FORMERR without the question", change: func(m *dnsmessage.Message) { m.RCode = 1; m.Questions, m.Answers = nil, nil }, want: errAny, text: "FORMERR"},
	{name: "SERVFAIL of another question", change: func(m *dnsmessage.Message) {
		m.RCode, m.Questions[0].Name = 2, dnsmessage.MustNewName("x.")
	}, want: errForeign},
	{name: "SERVFAIL", change: func(m *dnsmessage.Message) { m.RCode = 2 }, want: errAny, text: "SERVFAIL"},
	{name: "NXDOMAIN", change: func(m *dnsmessage.Message) { m.RCode, m.Answers = 3, nil }, want: errAny, text: "no such name"},
	{name: "REFUSED", change: func(m *dnsmessage.Message) { m.RCode, m.Answers = 5, nil }, want: errAny, text: "does not answer us"},
	{name: "an unknown RCODE", change: func(m *dnsmessage.Message) { m.RCode = 15 }, want: errAny, text: "RCODE 15"},
	{name: "nothing", change: func(m *dnsmessage.Message) { m.Answers = nil }, want: errNoAnswer},
	{name: "a record of another type", change: func(m *dnsmessage.Message) {
		m.Answers[0].Body = &dnsmessage.TXTResource{TXT: []string{"x"}}
	}, want: errNoAnswer},
	{name: "an alias that leads nowhere", change: func(m *dnsmessage.Message) {
		m.Answers[0].Body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("x.test.")}
	}, want: errNoAnswer},
	{name: "an alias and what it leads to", change: func(m *dnsmessage.Message) {
		m.Answers = append(m.Answers, m.Answers[0])
		m.Answers[0].Body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("x.test.")}
	}},
	{name: "truncated", change: func(m *dnsmessage.Message) { m.Truncated, m.Answers = true, nil }, want: errTruncated},
	{name: "an answer that ends early", raw: func(b []byte) []byte { return b[:len(b)-2] }, want: errAny, text: "malformed"},
	{name: "an answer that is not there", raw: func(b []byte) []byte { b[7] = 9; return b }, want: errAny, text: "malformed"},
	{name: "a name that points at itself", raw: func(b []byte) []byte { b[12], b[13] = 0xc0, 12; return b }, want: errForeign},
	{name: "a header", raw: func(b []byte) []byte { return b[:12] }, want: errForeign},
	{name: "less than a header", raw: func(b []byte) []byte { return b[:11] }, want: errForeign},
	{name: "no byte", raw: func([]byte) []byte { return nil }, want: errForeign},
	{name: "noise", raw: func(b []byte) []byte { return []byte(strings.Repeat("\xff", 512)) }, want: errForeign},
}

func TestWhatAReplyMeans(t *testing.T) {
	q := question{id: 4711, name: dnsmessage.MustNewName("www.test."), kind: dnsmessage.TypeA, recursion: true, answer: true}
	query, err := q.pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range replies {
		msg := reply(t, query, tt.change)
		if tt.raw != nil {
			msg = tt.raw(msg)
		}
		err := q.check(msg)
		if tt.want == errAny && (err == nil || errors.Is(err, errForeign)) || tt.want != errAny && !errors.Is(err, tt.want) ||
			tt.text != "" && !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%s: got %v, want %v %s", tt.name, err, tt.want, tt.text)
		}
	}
	q.answer = false
	if err := q.check(reply(t, query, func(m *dnsmessage.Message) { m.Answers = nil })); err != nil {
		t.Errorf("NOERROR is enough, but got %v", err)
	}
	q.kind, q.answer = dnsmessage.Type(DNSTypeANY), true
	if query, err = q.pack(); err != nil {
		t.Fatal(err)
	}
	if err := q.check(reply(t, query, nil)); err != nil {
		t.Errorf("any record is one of type ANY, but got %v", err)
	}
}

func FuzzDNSReply(f *testing.F) {
	q := question{id: 4711, name: dnsmessage.MustNewName("www.test."), kind: dnsmessage.TypeA, answer: true}
	query, err := q.pack()
	if err != nil {
		f.Fatal(err)
	}
	for _, tt := range replies {
		msg := reply(f, query, tt.change)
		if tt.raw != nil {
			msg = tt.raw(msg)
		}
		f.Add(msg)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		err := q.check(msg)
		if err == nil && (len(msg) < 12+14+16 || binary.BigEndian.Uint16(msg) != q.id || msg[2]&0x80 == 0 || msg[3]&0xf != 0) {
			t.Errorf("it passes")
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("a long error: %v", err)
		}
	})
}

func TestDNSOverUDP(t *testing.T) {
	timeout := verdict{"no answer in time", context.DeadlineExceeded}
	tests := []struct {
		name    string
		probe   DNS
		replies func(query []byte) [][]byte
		want    verdict
	}{
		{"an answer", ask, func(q []byte) [][]byte { return [][]byte{reply(t, q, nil)} }, verdict{}},
		{"silence", ask, func([]byte) [][]byte { return nil }, timeout},
		{"a failure", ask, func(q []byte) [][]byte {
			return [][]byte{reply(t, q, func(m *dnsmessage.Message) { m.RCode = 2 })}
		}, verdict{"SERVFAIL", nil}},
		{"strangers before the answer", ask, func(q []byte) [][]byte {
			return [][]byte{
				nil,
				{1, 2, 3},
				q,
				reply(t, q, func(m *dnsmessage.Message) { m.ID ^= 1; m.RCode = 2 }),
				reply(t, q, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("x.") }),
				reply(t, q, nil),
			}
		}, verdict{}},
		{"strangers alone", ask, func(q []byte) [][]byte {
			return [][]byte{nil, reply(t, q, func(m *dnsmessage.Message) { m.ID ^= 1 })}
		}, verdict{"2 messages that are not the answer", context.DeadlineExceeded}},
		{"the root", DNS{}, func(q []byte) [][]byte {
			var m dnsmessage.Message
			if err := m.Unpack(q); err != nil || len(m.Questions) != 1 || m.Questions[0].Name.String() != "." ||
				m.Questions[0].Type != dnsmessage.TypeSOA || !m.RecursionDesired {
				t.Errorf("got the query %+v, %v", m, err)
			}
			return [][]byte{reply(t, q, func(m *dnsmessage.Message) { m.Answers = nil })}
		}, verdict{}},
		{"what it knows itself", DNS{Name: "test.", NoRecursion: true}, func(q []byte) [][]byte {
			if q[2]&1 != 0 {
				t.Error("recursion is asked for")
			}
			return [][]byte{reply(t, q, nil)}
		}, verdict{}},
		{"truncated, and no TCP", ask, func(q []byte) [][]byte {
			return [][]byte{reply(t, q, func(m *dnsmessage.Message) { m.Truncated = true })}
		}, verdict{"over TCP: connection refused", nil}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.probe.Addr = datagramServer(t, tt.replies)
			judge(t, tt.probe, tt.want)
		})
	}
	closed := ask
	closed.Addr = netip.MustParseAddrPort("127.0.0.1:9")
	judge(t, closed, verdict{"connection refused", nil})
}

func TestDNSOverTCP(t *testing.T) {
	respond := func(fn func(query []byte) []byte) func(net.Conn) {
		return func(c net.Conn) {
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(c, query); err != nil {
				return
			}
			_, _ = c.Write(fn(query))
			hold(c)
		}
	}
	framed := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	probe := ask
	probe.TCP = true
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		want  verdict
	}{
		{"an answer", respond(func(q []byte) []byte { return framed(reply(t, q, nil)) }), verdict{}},
		{"a large answer", respond(func(q []byte) []byte {
			return framed(reply(t, q, func(m *dnsmessage.Message) {
				for len(m.Answers) < 2000 {
					m.Answers = append(m.Answers, m.Answers[0])
				}
			}))
		}), verdict{}},
		{"truncated", respond(func(q []byte) []byte {
			return framed(reply(t, q, func(m *dnsmessage.Message) { m.Truncated = true }))
		}), verdict{"truncated", nil}},
		{"another's answer", respond(func(q []byte) []byte {
			return framed(reply(t, q, func(m *dnsmessage.Message) { m.ID ^= 1 }))
		}), verdict{"not the answer to our question", nil}},
		{"no byte in it", respond(func([]byte) []byte { return []byte{0, 0} }), verdict{"not the answer", nil}},
		{"half an answer", respond(func(q []byte) []byte { return framed(reply(t, q, nil))[:20] }), verdict{"no answer in time", context.DeadlineExceeded}},
		{"closes at once", func(net.Conn) {}, verdict{"over TCP", nil}},
		{"says nothing", hold, verdict{"no answer in time", context.DeadlineExceeded}},
		{"byte by byte", func(c net.Conn) { drip(c, strings.Repeat("\xff", 1000)) }, verdict{"no answer in time", context.DeadlineExceeded}},
		{"endless", func(c net.Conn) { endless(c, "\x01\x00") }, verdict{"not the answer", nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probe.Addr = serve(t, tt.serve)
			judge(t, probe, tt.want)
		})
	}
}

func TestInvalidDNS(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:53")
	for _, name := range []string{"a..b", ".a", "..", strings.Repeat("a", 64), strings.Repeat("abcdefg.", 40)} {
		p := DNS{Addr: addr, Name: name}
		if err := p.Validate(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: Validate says %v", name, err)
		}
		if _, err := p.Probe(t.Context()); !errors.Is(err, fs.ErrInvalid) || !errors.Is(err, ErrInconclusive) {
			t.Errorf("%q: Probe says %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "a", "a.b.", strings.Repeat("a", 63) + ".test", "_sip._udp.x-y", "bücher.example"} {
		if err := (DNS{Addr: addr, Name: name}).Validate(); err != nil {
			t.Errorf("%q: Validate says %v", name, err)
		}
	}
	if err := (DNS{}).Validate(); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("without Addr: Validate says %v", err)
	}
}

func TestDNSTypeAsText(t *testing.T) {
	for _, tt := range []struct {
		text string
		want DNSType
	}{{"A", 1}, {"aaaa", 28}, {"SOA", 6}, {"HTTPS", 65}, {"TYPE65", 65}, {"type65535", 65535}, {"Type99", 99}} {
		var got DNSType
		if err := got.UnmarshalText([]byte(tt.text)); err != nil || got != tt.want {
			t.Errorf("%s: got %d, %v", tt.text, got, err)
		}
		var again DNSType
		text, err := got.MarshalText()
		if again.UnmarshalText(text) != nil || err != nil || again != tt.want {
			t.Errorf("%s: %s is %d", tt.text, text, again)
		}
	}
	for _, text := range []string{"", "B", "TYPE", "TYPE0", "TYPE65536", "TYPE-1", "TYPE+1", "TYPE1x"} {
		var got DNSType
		if err := got.UnmarshalText([]byte(text)); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	if got := DNSType(0).String(); got != "SOA" {
		t.Errorf("the zero type is %s", got)
	}
}

// A name server is asked for a zone of its own.
func ExampleDNS() {
	m, err := New(Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = m.Set("ns1", Check{Prober: DNS{
		Addr: netip.MustParseAddrPort("192.168.247.135:53"),
		Name: "example.org", Type: DNSTypeSOA, Answer: true, NoRecursion: true,
	}})
	fmt.Println(err)
	// Output: <nil>
}
