package main

import (
	"testing"
	"time"
)

// addresses are those of the router that has more.
var addresses = []string{"10.51.0.100", "10.51.0.101"}

// TestDifferingConfigurations runs routers that are not configured alike. Who
// takes the other's advertisements has one master, who drops them two; ours tells
// it in both cases.
func TestDifferingConfigurations(t *testing.T) {
	t.Parallel()
	program := compiled(t)
	a, b := options{priority: high}, options{priority: low}
	more, foreign, password, message := b, b, b, a
	more.vips, foreign.vips, password.auth, message.extra = addresses, addresses[1:], "pass", []string{"-checksum", "message-only"}
	for _, tt := range []struct {
		name, mode string
		kindA      string
		a          options
		kindB      string
		b          options
		masters    int
		event      string // of every lvskit that hears the other, or ""
	}{
		{"more addresses: ours takes what keepalived sends", "v3 IPv4", "keepalived", a, "lvskit", more, 1, "peer differs"},
		{"more addresses: ours takes what FRR sends", "v3 IPv4", "frr", a, "lvskit", more, 1, "peer differs"},
		{"more addresses: ours takes what ours sends", "v3 IPv4", "lvskit", a, "lvskit", more, 1, "peer differs"},
		{"more addresses: keepalived drops what ours sends", "v3 IPv4", "lvskit", a, "keepalived", more, 2, "peer differs"},
		{"more addresses: FRR takes what ours sends", "v3 IPv4", "lvskit", a, "frr", more, 1, ""},
		{"more addresses: all drop it in v2", "v2", "lvskit", a, "lvskit", more, 2, "peer differs"},
		{"more addresses: all drop it in v2, keepalived too", "v2", "lvskit", a, "keepalived", more, 2, "peer differs"},
		{"other addresses: another cluster of ours", "v3 IPv4", "lvskit", a, "lvskit", foreign, 1, "foreign cluster"},
		{"other addresses: another cluster of keepalived", "v3 IPv4", "lvskit", a, "keepalived", foreign, 2, "foreign cluster"},
		{"a password here and none there: keepalived", "v2", "lvskit", a, "keepalived", password, 2, "peer differs"},
		{"a password here and none there: ours", "v2", "keepalived", a, "lvskit", password, 2, "peer differs"},
		{"checksum without pseudo-header: keepalived drops it", "v3 IPv4", "lvskit", message, "keepalived", b, 2, "two active"},
		{"checksum without pseudo-header: FRR drops it", "v3 IPv4", "lvskit", message, "frr", b, 2, "two active"},
		{"checksum without pseudo-header: ours takes it", "v3 IPv4", "lvskit", message, "lvskit", b, 1, ""},
	} {
		m, _ := named(tt.mode).of([2]string{tt.kindA, tt.kindB})
		if left(tt.kindA, tt.kindB, m) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newRig(t, program, m).cell(t, tt.kindA, tt.a, tt.kindB, tt.b)
			begun := time.Now()
			c.a.start(t)
			c.sole(t, c.a.at(), begun)
			c.b.start(t)
			c.differ(t, tt.masters, tt.event)
		})
	}
}

// differ checks how many masters there are, and what ours say. With one master
// only the other router hears anything.
//
// Masters are known by what they hold: each advertisement that keepalived 2.2.7
// drops puts off its own next one, so it advertises once when it becomes master
// and may then be silent. One that was master before is not heard at all.
func (c *cell) differ(t *testing.T, masters int, event string) {
	t.Helper()
	if masters == 2 {
		await(t, "both hold addresses", 10*c.mode.every()+10*time.Second, func() bool {
			return c.a.at().holds(t, addresses...) && c.b.at().holds(t, addresses...)
		})
		await(t, "a tells of two masters", 10*time.Second, c.a.tells("two active"))
		if _, silent := c.a.(*keepalived); !silent {
			await(t, "b tells of two masters", 10*time.Second, c.b.tells("two active"))
		}
		await(t, "a tells: "+event, 10*time.Second, c.a.tells(event))
	}
	await(t, "b tells: "+event, 10*time.Second, c.b.tells(event))
	if masters == 1 {
		c.sole(t, c.a.at(), time.Now())
	}
}
