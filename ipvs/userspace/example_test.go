package userspace_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"strings"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/userspace"
)

// maintain is what a program does with a table: no service gives a new connection
// to that machine.
func maintain(ctx context.Context, t ipvs.Table, machine netip.Addr) error {
	services, err := t.Services(ctx)
	for _, s := range services {
		for _, d := range s.Destinations {
			if d.Addr.Addr() == machine {
				d.Weight = 0
				err = errors.Join(err, t.UpdateDestination(ctx, s.ID, d.Destination))
			}
		}
	}
	return err
}

// And this is how it is tested, without privileges, on any system.
func Example() {
	ctx := context.Background()
	table, err := userspace.Open(userspace.Config{TableOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	services, err := ipvs.Parse(strings.NewReader(`
		-A -t 192.0.2.1:80 -s rr
		-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
		-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1`))
	if err == nil {
		_, err = table.Apply(ctx, services, ipvs.Policy{})
	}
	fmt.Println(err, maintain(ctx, table, netip.MustParseAddr("10.0.0.2")))
	for range 3 {
		c, err := table.Connect(services[0].ID, netip.MustParseAddrPort("198.51.100.7:1024"))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.Destination())
	}
	// Output:
	// <nil> <nil>
	// 10.0.0.1:80
	// 10.0.0.1:80
	// 10.0.0.1:80
}
