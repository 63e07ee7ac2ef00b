package vrrp_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/netip"
	"os/signal"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// Two machines run this; one of them has 192.168.247.188.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	addr := netip.MustParseAddr("192.168.247.188")
	addresses, err := vip.New(vip.Config{State: vip.State{Addresses: []vip.Address{{Interface: "eth0", Addr: addr}}}})
	if err != nil {
		log.Fatal(err)
	}
	if err := addresses.Open(); err != nil {
		log.Fatal(err)
	}
	defer addresses.Close()

	router, err := vrrp.New(vrrp.Config{
		Interface: "eth0",
		VRID:      51,
		Addresses: []netip.Addr{addr},
		Priority:  200, // the other has 100
		Binder:    addresses,
		Logger:    slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := router.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// A machine whose service has failed lets another one with a lower priority take
// over.
func ExampleRouter_Track() {
	router, err := vrrp.New(vrrp.Config{
		Interface: "eth0", VRID: 51, Addresses: []netip.Addr{netip.MustParseAddr("192.168.247.188")}, Priority: 150,
	})
	if err != nil {
		log.Fatal(err)
	}
	service, err := router.Track("nginx", -100)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(router.Status().Priority)
	service.Down()
	fmt.Println(router.Status().Priority)
	// Output:
	// 150
	// 50
}

// The witness agrees to a promotion only if the gateway's web page answers: a
// machine that is cut off does not become Active.
func ExampleConfig_witness() {
	_, err := vrrp.New(vrrp.Config{
		Interface: "eth0", VRID: 51, Addresses: []netip.Addr{netip.MustParseAddr("192.168.247.188")},
		Witness: func(ctx context.Context) error {
			ask, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://192.168.247.1/", nil)
			if err != nil {
				return err
			}
			answer, err := http.DefaultClient.Do(ask)
			if err != nil {
				return err
			}
			return answer.Body.Close()
		},
	})
	fmt.Println(err)
	// Output: <nil>
}

// Many virtual routers share one thread and one socket.
func ExampleRun() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	var routers []*vrrp.Router
	for n := range 250 {
		r, err := vrrp.New(vrrp.Config{
			Interface: "eth0",
			VRID:      uint8(n + 1),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 0, byte(n + 1)})},
			Interval:  100 * time.Millisecond,
			OnEvent: func(e vrrp.Event) {
				if e.Kind == vrrp.Transition {
					fmt.Println(e.Router, e.To)
				}
			},
		})
		if err != nil {
			log.Fatal(err)
		}
		routers = append(routers, r)
	}
	if err := vrrp.Run(ctx, routers...); err != nil {
		log.Fatal(err)
	}
}
