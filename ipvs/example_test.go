package ipvs_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// A director with two real servers, by direct routing.
var web = ipvs.Service{
	ID:        ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.168.247.188:80")},
	Scheduler: ipvs.RR,
	Destinations: []ipvs.Destination{
		{Addr: netip.MustParseAddrPort("192.168.247.135:80"), Weight: 1},
		{Addr: netip.MustParseAddrPort("192.168.247.136:80"), Weight: 1},
	},
}

// The dry run: what would be typed to get from one table to another.
func ExamplePlan() {
	have := []ipvs.Service{web}

	want := web
	want.Scheduler = ipvs.WRR
	want.Destinations = []ipvs.Destination{
		{Addr: netip.MustParseAddrPort("192.168.247.135:80"), Weight: 3},
		{Addr: netip.MustParseAddrPort("192.168.247.137:80"), Weight: 1},
	}

	changes, err := ipvs.Plan(have, []ipvs.Service{want}, ipvs.Policy{Owns: ipvs.OwnAll})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range changes {
		fmt.Println(c)
	}
	// Output:
	// ipvsadm -E -t 192.168.247.188:80 -s wrr
	// ipvsadm -a -t 192.168.247.188:80 -r 192.168.247.137:80 -g -w 1
	// ipvsadm -e -t 192.168.247.188:80 -r 192.168.247.135:80 -g -w 3
	// ipvsadm -d -t 192.168.247.188:80 -r 192.168.247.136:80
}

// A program owns the services on its own virtual addresses, and leaves those of
// others alone.
func ExamplePolicy() {
	mine := netip.MustParsePrefix("192.168.247.0/24")
	foreign := ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("10.0.0.1:443")}}

	changes, err := ipvs.Plan([]ipvs.Service{web, foreign}, nil, ipvs.Policy{
		Owns: func(id ipvs.ServiceID) bool { return mine.Contains(id.Addr.Addr()) },
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range changes {
		fmt.Println(c)
	}
	// Output: ipvsadm -D -t 192.168.247.188:80
}

func ExampleParse() {
	services, err := ipvs.Parse(strings.NewReader(`
# as ipvsadm -S -n writes it
-A -t 192.168.247.188:80 -s rr -p 300
-a -t 192.168.247.188:80 -r 192.168.247.135:80 -g -w 1
-a -t 192.168.247.188:80 -r 192.168.247.136:80 -g -w 1
`))
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range services {
		fmt.Println(s.ID, s.Scheduler, s.Persistence.Timeout)
		for _, d := range s.Destinations {
			fmt.Println("->", d.Addr, d.Forward, d.Weight)
		}
	}
	// Output:
	// TCP 192.168.247.188:80 rr 5m0s
	// -> 192.168.247.135:80 Route 1
	// -> 192.168.247.136:80 Route 1
}

func ExampleFormat() {
	if err := ipvs.Format(os.Stdout, []ipvs.Service{web}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// -A -t 192.168.247.188:80 -s rr
	// -a -t 192.168.247.188:80 -r 192.168.247.135:80 -g -w 1
	// -a -t 192.168.247.188:80 -r 192.168.247.136:80 -g -w 1
}

func ExampleService_Validate() {
	s := web
	s.Destinations = []ipvs.Destination{{Addr: netip.MustParseAddrPort("192.168.247.135:8080"), Weight: 1}}
	fmt.Println(s.Validate())
	// Output: ipvs: validate TCP 192.168.247.188:80 -> 192.168.247.135:8080: forwarding Route leaves the port as it is, 80: use that port, or ForwardMasq
}

// Take a real server out for maintenance: it gets no new connections, and a
// minute for those it has.
func ExampleDrain() {
	ctx := context.Background()
	table, err := ipvs.Open(ipvs.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer table.Close()

	done, err := ipvs.Drain(ctx, table, web.ID, web.Destinations[0].Addr, ipvs.DrainConfig{Timeout: time.Minute})
	if err != nil {
		log.Print(err)
		return
	}
	log.Printf("removed with %d connections", done.Active)
}
