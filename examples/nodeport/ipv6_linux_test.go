package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// TestIPv6 has a client beside the nodes: they know the way to it, and would answer
// it past IPVS.
func TestIPv6(t *testing.T) {
	form := "nginx"
	if need.Emulated() {
		form = "ipvs"
		need.IPVS(t)
	}
	t.Parallel()
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	client, lb := labtest.Host(t, l, "client"), labtest.Host(t, l, "lb")
	labtest.Connect(t, client, lan, "fd00::12/64")
	labtest.Connect(t, lb, lan, "fd00::50/64")
	args := []string{"-form", form, "-vrid", "51", "-interval", "100ms", "-check", check().String(), "-vip", "[fd00::100]:3344", "-run", t.TempDir()}
	seen := make(chan string, 100)
	for _, addr := range []string{"[fd00::40]:30000", "[fd00::90]:30000"} {
		node := labtest.Host(t, l, addr)
		labtest.Connect(t, node, lan, addr[1:9]+"/64")
		listener, err := node.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			seen <- req.RemoteAddr
			fmt.Fprint(w, addr)
		}))
		args = append(args, "-node", addr)
	}
	labtest.Start(t, lb, "-> active", bin.Path(t, "nodeport"), args...)
	pages := map[string]bool{}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second*patience())
	defer cancel()
	for len(pages) < 2 {
		a := &asker{T: t, host: client, url: "http://[fd00::100]:3344/"}
		page, err := a.get(ctx)
		if err == nil {
			pages[page] = true
			if from := <-seen; from[:10] != "[fd00::50]" {
				t.Errorf("%s has seen %s, want the balancer", page, from)
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("the client had %v, and now %v", pages, err)
		}
	}
}
