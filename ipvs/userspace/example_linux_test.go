package userspace_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/userspace"
)

// Two web servers behind one address, without ip_vs and without privileges.
func ExampleEngine() {
	ctx, stop := context.WithCancel(context.Background())
	e, err := userspace.Open(userspace.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()

	web := ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: freeAddr()}, Scheduler: ipvs.RR}
	for _, name := range []string{"one", "two"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }))
		defer server.Close()
		addr := server.Listener.Addr().(*net.TCPAddr).AddrPort()
		web.Destinations = append(web.Destinations, ipvs.Destination{Addr: addr, Forward: ipvs.ForwardMasq, Weight: 1})
	}
	if err := e.AddService(ctx, web); err != nil {
		log.Fatal(err)
	}

	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // each request is a connection
	for range 4 {
		answer, err := client.Get("http://" + web.ID.Addr.String())
		if err != nil {
			log.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		fmt.Println(string(text))
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// two
	// one
	// two
	// one
	// <nil>
}

// freeAddr is an address of this machine at which nobody listens.
func freeAddr() netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}
