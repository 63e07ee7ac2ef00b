package userspace

import (
	"testing"

	"github.com/lvskit/lvskit/ipvs"
)

// TestThresholds plays the rule of ip_vs_dest_update_overload.
func TestThresholds(t *testing.T) {
	for _, tc := range []struct{ name, script string }{
		{"full at the upper one", "+a1^3 *aaa.."},
		{"free below three quarters of it", "+a1^8 *aaaaaaaa. /a =. /a =. /a =aa"},
		{"an upper one of 1", "+a1^1 *a. /a *a."},
		{"a higher upper one", "+a1^2 *aa. ~a1^3 *a."},
		{"a lower upper one is looked at", "+a1 *aaa ~a1^2 =."},
		{"an upper one that is just met", "+a1 *aaa ~a1^3 =."},
		{"no upper one any more", "+a1^2 *aa. ~a1 *aaa"},
		{"between both it stays full", "+a1^2 *aa. ~a1^3 =a"},
		{"the same settings change nothing", "+a1^4 *aaaa. /a =. ~a1^4 =."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			newScript(t, ipvs.Service{Scheduler: ipvs.RR}).play(tc.script)
		})
	}
}
