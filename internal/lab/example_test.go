package lab_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"

	"github.com/lvskit/lvskit/internal/lab"
)

// A web server and its client, on a switch.
func Example() {
	if err := lab.Enter(); err != nil {
		log.Fatal(err)
	}
	l, err := lab.New(lab.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	lan, err := l.Switch("lan")
	if err != nil {
		log.Fatal(err)
	}
	connect := func(name, addr string) *lab.Host {
		h, err := l.Host(name)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := h.Connect(lan, lab.LinkConfig{Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}); err != nil {
			log.Fatal(err)
		}
		return h
	}
	server, client := connect("server", "10.0.0.1/24"), connect("client", "10.0.0.2/24")

	ln, err := server.Listen("tcp", "10.0.0.1:80")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "hello %s\n", host)
	}))
	out, err := client.Run(context.Background(), "curl", "-s", "http://10.0.0.1/")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(out) // hello 10.0.0.2
}
