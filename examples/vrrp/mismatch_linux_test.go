package main

import (
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
)

// addresses are those of the router that has more.
var addresses = []string{"10.51.0.100", "10.51.0.101"}

// TestDifferingAddresses runs routers whose lists of virtual addresses differ.
// Who takes such advertisements has one master, who drops them two; ours tells
// it in both cases.
func TestDifferingAddresses(t *testing.T) {
	t.Parallel()
	program := bin.Path(t, "vrrp")
	more, others := addresses, addresses[1:]
	for _, tt := range []struct {
		name, mode, a, b string
		vipsB            []string
		masters          int
		event            string // of every lvskit that hears the other
	}{
		{"ours takes what keepalived sends", "v3 IPv4", "keepalived", "lvskit", more, 1, "peer differs"},
		{"ours takes what FRR sends", "v3 IPv4", "frr", "lvskit", more, 1, "peer differs"},
		{"ours takes what ours sends", "v3 IPv4", "lvskit", "lvskit", more, 1, "peer differs"},
		{"keepalived drops what ours sends", "v3 IPv4", "lvskit", "keepalived", more, 2, "peer differs"},
		{"FRR takes what ours sends", "v3 IPv4", "lvskit", "frr", more, 1, ""},
		{"v2 drops it, ours too", "v2", "lvskit", "lvskit", more, 2, "peer differs"},
		{"another cluster of ours", "v3 IPv4", "lvskit", "lvskit", others, 1, "foreign cluster"},
		{"another cluster of keepalived", "v3 IPv4", "lvskit", "keepalived", others, 2, "foreign cluster"},
	} {
		pair := [2]string{tt.a, tt.b}
		m, _ := named(tt.mode).of(pair)
		if thin(pair, m) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newRig(t, program, m).cell(t, tt.a, options{priority: high}, tt.b, options{priority: low, vips: tt.vipsB})
			c.a.start(t)
			begun := time.Now()
			c.sole(t, c.a.at(), begun)
			begun = time.Now()
			c.b.start(t)
			c.differ(t, tt.masters, tt.event, begun)
		})
	}
}

// differ checks how many masters there are, and what ours say. With one master
// only the other router hears anything. Masters are known by what they hold:
// keepalived 2.2.7 as the second one advertises once and then hardly ever, because
// each advertisement that it drops puts off its own.
func (c *cell) differ(t *testing.T, masters int, event string, since time.Time) {
	t.Helper()
	hears := []peer{c.b}
	if masters == 2 {
		await(t, "both hold addresses", 10*c.mode.every()+10*time.Second, func() bool {
			return c.a.at().holds(t, addresses...) && c.b.at().holds(t, addresses...)
		})
		hears = append(hears, c.a)
	}
	for _, p := range hears {
		await(t, p.at().name+" tells: "+event, 10*time.Second, p.tells(event))
		if masters == 2 {
			await(t, p.at().name+" tells of two masters", 10*time.Second, p.tells("two active"))
		}
	}
	if masters == 1 {
		c.sole(t, c.a.at(), time.Now())
	}
}
