package nat

import (
	"testing"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// Whole conversations between sockets: what the server says it saw, as the client reads it.
func TestConversations(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		r := newRig(t)
		r.serve(r.web, "web", "8080")
		r.serve(r.client, "client", "8080")
		r.serve(r.gateway, "gw", "3128")
		table := tableOn(t, r.gateway, b)
		for which, family := range []string{"ipv4", "ipv6"} {
			v6 := which == 1
			var list []Rule
			for _, network := range []string{"tcp", "udp"} {
				for _, text := range []string{
					"dnat: " + network + " destination {pub:3344} to {web:8080} hairpin {inside}",
					"dnat: " + network + " destination {pub:100-110} to {web:8075-8085}",
					"dnat: " + network + " in eth1 destination {outside:200-210} to {web:8080}",
					"redirect: {family} " + network + " in eth0 destination *:80 to *:3128",
				} {
					list = append(list, rules(t, expand(text, v6))...)
				}
			}
			list = append(list, rules(t, expand("snat: source {inside} out eth1 to {pub}", v6))...)
			_, err := table.Apply(t.Context(), list)
			must(t, err)
			for _, network := range []string{"tcp", "udp"} {
				for _, c := range []struct {
					from     *lab.Host
					to, want string
				}{
					{r.client, "{pub:3344}", "{client} > {web:8080}"},
					{r.client, "{pub:105}", "{client} > {web:8080}"},
					{r.client, "{pub:207}", "{client} > {web:8080}"},
					{r.pc, "{pub:3344}", "{gw} > {web:8080}"},
					{r.web, "{pub:3344}", "{gw} > {web:8080}"},
					{r.gateway, "{pub:105}", "{pub} > {web:8080}"},
					{r.pc, "{client:8080}", "{pub} > {client:8080}"},
					{r.db, "{far:80}", "{db} > {gw:3128}"},
				} {
					want := expand(c.want, v6)
					if got := ask(t, c.from, network, expand(c.to, v6)); got != want {
						t.Errorf("%s %s: %s asks %s: got %q, want %q", family, network, c.from.Name(), c.to, got, want)
					}
				}
			}
			labtest.Run(t, r.pc, "ping", "-c1", "-W5", places["client"][which])
		}
	})
}
