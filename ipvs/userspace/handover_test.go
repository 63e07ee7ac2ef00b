package userspace

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lvskit/lvskit/ipvs"
)

func TestHeadRoundTrip(t *testing.T) {
	for _, h := range []head{{messageTake, 0, 0}, {messageEstate, messageMost, descriptorsMost}, {messageFinal, 1, 0}} {
		b := h.append(nil)
		if len(b) != headSize {
			t.Errorf("a head has %d bytes, want %d", len(b), headSize)
		}
		got, err := parseHead(b)
		if got != h || err != nil {
			t.Errorf("head %+v is read as %+v, %v", h, got, err)
		}
	}
}

func TestHeadIsRefused(t *testing.T) {
	good := string(head{messageEstate, 10, 2}.append(nil))
	for _, tt := range []struct{ name, head, want string }{
		{"nothing", "", "does not speak"},
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", "does not speak"},
		{"no version", good[:9], "does not speak"},
		{"another version", good[:8] + "\x00\x02" + good[10:], "version 2"},
		{"the head of a later version", good[:8] + "\x00\x02", "version 2"},
		{"a truncated one", good[:len(good)-1], "wrong size"},
		{"one with more", good + "x", "wrong size"},
		{"a huge message", good[:12] + "\xff\xff\xff\xff" + good[16:], "too large"},
		{"too many descriptors", good[:16] + "\xff\xff\xff\xff", "too large"},
	} {
		if _, err := parseHead([]byte(tt.head)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the error is %v, want %q", tt.name, err, tt.want)
		}
	}
}

var addrs = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

// anEstate is what version 1 writes: testdata/estate.json.
func anEstate() *estate {
	return &estate{
		Timeouts: ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute},
		Services: []estateService{
			{
				Service: ipvs.Service{
					ID:          ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")},
					Scheduler:   ipvs.WRR,
					Flags:       ipvs.SchedFlag1,
					Persistence: ipvs.Persistence{Timeout: time.Minute, Mask: 24},
					Destinations: []ipvs.Destination{
						{Addr: netip.MustParseAddrPort("10.0.0.2:8080"), Forward: ipvs.ForwardMasq, Weight: 2, Upper: 100, Lower: 80},
						{Addr: netip.MustParseAddrPort("10.0.0.1:8080"), Forward: ipvs.ForwardMasq},
					},
				},
				Stats:            tally{7, 70, 60, 7000, 6000},
				DestinationStats: []tally{{4, 40, 30, 4000, 3000}, {3, 30, 30, 3000, 3000}},
				Sockets:          2,
				Clients:          []estateClient{{netip.MustParseAddr("198.51.100.0"), 1, 30 * time.Second}},
			},
			{
				Service:          ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort("[2001:db8::1]:53")}, Scheduler: ipvs.RR},
				DestinationStats: nil,
				Sockets:          1,
			},
		},
	}
}

func TestEstateIsReadAsVersion1WroteIt(t *testing.T) {
	b, err := os.ReadFile("testdata/estate.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseEstate(b, 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(anEstate(), got, addrs); diff != "" {
		t.Error(diff)
	}
	written, err := json.MarshalIndent(anEstate(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(b)), string(written)); diff != "" {
		t.Errorf("what is written differs from version 1: %s", diff)
	}
}

func TestEstateIsRefused(t *testing.T) {
	edited := func(edit func(*estate)) string {
		s := anEstate()
		edit(s)
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good := edited(func(*estate) {})
	for _, tt := range []struct {
		name, body  string
		descriptors int
		want        string
	}{
		{"nothing", "", 0, "unreadable"},
		{"garbage", "\x00\xff{", 0, "unreadable"},
		{"half of it", good[:len(good)/2], 3, "unreadable"},
		{"descriptors are missing", good, 2, "1 sockets of"},
		{"descriptors are left over", good, 4, "1 sockets of no service"},
		{"a service twice", edited(func(s *estate) { s.Services = append(s.Services, s.Services[0]) }), 5, "twice"},
		{"a service that cannot be", edited(func(s *estate) { s.Services[0].Service.ID.Addr = netip.AddrPort{} }), 3, "cannot be"},
		{"a real server that cannot be", edited(func(s *estate) { s.Services[0].Service.Destinations[0].Weight = -1 }), 3, "cannot be"},
		{"counters are missing", edited(func(s *estate) { s.Services[0].DestinationStats = nil }), 3, "counters"},
		{"fewer sockets than none", edited(func(s *estate) { s.Services[0].Sockets = -1 }), 0, "-1 sockets"},
		{"a client of no real server", edited(func(s *estate) { s.Services[0].Clients[0].Destination = 2 }), 3, "a client"},
		{"a client for ever", edited(func(s *estate) { s.Services[0].Clients[0].Left = 1 << 62 }), 3, "a client"},
		{"a client without an address", edited(func(s *estate) { s.Services[0].Clients[0].Client = netip.Addr{} }), 3, "a client"},
		{"a timeout below zero", edited(func(s *estate) { s.Timeouts.UDP = -1 }), 3, "timeout"},
	} {
		if _, err := parseEstate([]byte(tt.body), tt.descriptors); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the error is %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzHandover(f *testing.F) {
	good, err := os.ReadFile("testdata/estate.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, 3)
	f.Add(head{messageEstate, 10, 2}.append(nil), 0)
	f.Fuzz(func(t *testing.T, b []byte, descriptors int) {
		if h, err := parseHead(b); err == nil && string(h.append(nil)) != string(b) {
			t.Errorf("%x is read as %+v", b, h)
		}
		s, err := parseEstate(b, descriptors)
		if err != nil {
			return
		}
		sockets := 0
		for _, one := range s.Services {
			sockets += one.Sockets
		}
		if sockets != descriptors {
			t.Errorf("%d sockets with %d descriptors", sockets, descriptors)
		}
	})
}

func TestHandoverPathIsRefused(t *testing.T) {
	for _, path := range []string{"@lvskit", "\x00lvskit", "/run/\x00", "/run/" + strings.Repeat("x", 99)} {
		if err := checkHandover(path); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("path %q: the error is %v, want fs.ErrInvalid", path, err)
		}
	}
	if err := checkHandover("/run/" + strings.Repeat("x", 98)); err != nil {
		t.Error(err)
	}
}

func TestTallyMinus(t *testing.T) {
	got := tally{10, 5, 3, 100, 0}.minus(tally{4, 5, 7, 1, 0})
	if want := (tally{6, 0, 3, 99, 0}); got != want {
		t.Errorf("since then %v was counted, want %v: what is behind was zeroed", got, want)
	}
}

// The counters of a successor go on where those of the predecessor were, with
// what came between its first word and its last, and its clients stay with their
// real servers.
func TestSettleAndCatchUp(t *testing.T) {
	e, err := Open(Config{TableOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	first, last := anEstate(), anEstate()
	last.Services[0].Stats[0] += 5
	last.Services[0].DestinationStats[1][0] += 5
	late := netip.MustParseAddr("203.0.113.0")
	last.Services[0].Clients = append(last.Services[0].Clients, estateClient{late, 0, time.Minute})
	e.mu.Lock()
	err = e.settle(first, func(*estateService) {})
	e.catchUp(last, first)
	again := e.estate()
	e.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	clients := again.Services[0].Clients
	slices.SortFunc(clients, func(a, b estateClient) int { return a.Client.Compare(b.Client) })
	for i := range clients {
		if want := last.Services[0].Clients[i].Left; clients[i].Left > want || clients[i].Left < want-10*time.Second {
			t.Errorf("client %s is remembered for %v, want %v", clients[i].Client, clients[i].Left, want)
		}
		clients[i].Left = last.Services[0].Clients[i].Left
	}
	for i := range last.Services {
		last.Services[i].Sockets = 0
	}
	if diff := cmp.Diff(last, again, addrs, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	have, err := e.Services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := have[0].Stats; got.Connections != 12 || got.ConnectionRate != 0 {
		t.Errorf("the statistics are %+v, want 12 connections, and no rate of another's", got)
	}
	for client, want := range map[string]string{"198.51.100.77:4242": "10.0.0.1:8080", "203.0.113.77:4242": "10.0.0.2:8080"} {
		e.mu.Lock()
		s := e.services[first.Services[0].Service.ID]
		template := s.templates.find(s.templateKey(flow{client: netip.MustParseAddrPort(client)}))
		e.mu.Unlock()
		if template == nil || template.dest.Addr.String() != want {
			t.Errorf("client %s is not remembered with %s", client, want)
		}
	}
}
