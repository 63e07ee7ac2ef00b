package main

import (
	"context"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// TestThroughTheVirtualAddress breaks what a probe of the real server's own address
// does not see: that it takes packets for the virtual address. Both directors must
// see it, the Active one, whose own the virtual address is, and the Backup.
func TestThroughTheVirtualAddress(t *testing.T) {
	for _, tt := range []struct {
		forward, device string
	}{{"dr", "lo"}, {"tun", "tunl0"}} {
		t.Run(tt.forward, func(t *testing.T) {
			r := newRig(t, 2)
			if tt.forward == "tun" {
				need.Module(t, "ipip")
			}
			for _, s := range r.servers {
				if tt.forward == "tun" {
					labtest.Run(t, s.Host, "ip", "link", "set", "tunl0", "up")
					s.holdVIP(tt.device)
				}
			}
			service := r.service().with("forward", tt.forward)
			service["check"] = service["check"].(object).with("through_vip", true)
			r.doc = object{"services": []object{service}}
			r.pair()
			for _, m := range r.directors {
				m.start()
			}
			r.directors[0].says("state backup -> active")
			for _, s := range r.servers {
				r.served(s, true, time.Minute)
			}
			load := r.load()
			load.more(r, 10)

			broken := r.servers[0]
			broken.holdVIP("")
			t.Logf("without the virtual address %s is out after %v", broken.Name(), r.served(broken, false, slowest))
			for _, m := range r.directors {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				conn, err := m.Dial(ctx, "tcp", broken.real())
				cancel()
				if err != nil {
					t.Fatalf("a probe of its own address would fail too: %v", err)
				}
				conn.Close()
			}
			load.more(r, 10)
			load.reset()
			load.more(r, 20)
			if by, failed := load.reset(); by[broken.Name()] > 0 || len(failed) > 0 {
				t.Errorf("%v, failed %q", by, failed)
			}
			broken.holdVIP(tt.device)
			r.served(broken, true, slowest)
			load.stop()
		})
	}
}
