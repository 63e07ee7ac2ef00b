package main

import (
	"strings"
	"testing"
	"time"
)

// second is a row with slots drawn as in the timeline.
func second(n int, active, pool, slots string) row {
	r := row{second: n, view: view{active, strings.Fields(pool)}, whole: !strings.Contains(slots, "?")}
	for i, c := range slots {
		r.slots[i] = map[rune]slot{
			'#': {sent: 5, answered: 5}, '+': {sent: 5, answered: 3, failed: 2}, 'x': {sent: 5, failed: 5}, '?': {sent: 5},
		}[c]
	}
	return r
}

func TestRows(t *testing.T) {
	well := second(3, "director1", "web1 web2 web3", "####################")
	dies := second(4, "director1", "web1 web3", "####++++############")
	none := second(12, "", "", "##xxxxxxxxxxxxxx????")
	for _, tt := range []struct {
		name  string
		style style
		want  []string
	}{
		{"as wide as it takes", style{}, []string{
			"second  active     pool            answered   lost  # answered + some lost x lost",
			"     3  director1  web1 web2 web3       100      0  ####################",
			"     4  director1  web1 .... web3        92      8  ####++++############",
			"    12  nobody     .... .... ....        10     70  ##xxxxxxxxxxxxxx????",
		}},
		{"60 columns", style{width: 60}, []string{
			"second  active     pool            answered   lost",
			"     3  director1  web1 web2 web3       100      0",
			"     4  director1  web1 .... web3        92      8",
			"    12  nobody     .... .... ....        10     70",
		}},
		{"36 columns", style{width: 36}, []string{
			"second, active, pool, answered, lost",
			"   3 director1 3/3  100    0",
			"   4 director1 2/3   92    8",
			"  12 nobody    0/3   10   70",
		}},
		{"80 columns, in colour", style{width: 80, color: true}, []string{
			"\x1b[2msecond  active     pool            answered   lost  # answered + some lost x lost\x1b[0m",
			"     3  director1  web1 web2 web3       100      0  \x1b[32m####################\x1b[0m",
			"     4  director1  web1 .... web3        92 \x1b[31m     8\x1b[0m  \x1b[32m####\x1b[0m\x1b[33m++++\x1b[0m\x1b[32m############\x1b[0m",
			"    12  \x1b[31mnobody   \x1b[0m  .... .... ....        10 \x1b[31m    70\x1b[0m  " +
				"\x1b[32m##\x1b[0m\x1b[31mxxxxxxxxxxxxxx\x1b[0m\x1b[2m????\x1b[0m",
		}},
		{"in colour", style{width: 60, color: true}, []string{
			"\x1b[2msecond  active     pool            answered   lost\x1b[0m",
			"     3  director1  web1 web2 web3       100      0",
			"     4  director1  web1 .... web3        92 \x1b[31m     8\x1b[0m",
			"    12  \x1b[31mnobody   \x1b[0m  .... .... ....        10 \x1b[31m    70\x1b[0m",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := []string{tt.style.head(), tt.style.row(well), tt.style.row(dies), tt.style.row(none)}
			same(t, got, tt.want)
			for _, line := range got {
				if tt.style.width > 0 && !tt.style.color && len(line) > tt.style.width {
					t.Errorf("%q is wider than %d", line, tt.style.width)
				}
			}
		})
	}
}

func TestTheBarFitsWhereItIsShown(t *testing.T) {
	for _, width := range []int{widthOfAll, widthOfNumbers, 30} {
		s := style{width: width}
		r := second(999, "director1", "web1 web2 web3", "####################")
		if got := s.row(r); len(got) > width {
			t.Errorf("%d columns: %q takes %d", width, got, len(got))
		}
	}
}

func TestEventsAreWrappedBetweenWords(t *testing.T) {
	e := event{8349 * time.Millisecond, "director1 dies: its program is killed and its cable pulled out"}
	for _, tt := range []struct {
		style style
		want  []string
	}{
		{style{}, []string{"   8.3  director1 dies: its program is killed and its cable pulled out"}},
		{style{width: 40}, []string{"   8.3  director1 dies: its program is", "        killed and its cable pulled out"}},
		{style{width: 40, color: true}, []string{"\x1b[1m   8.3  director1 dies: its program is\x1b[0m", "\x1b[1m        killed and its cable pulled out\x1b[0m"}},
		{style{width: 10}, []string{"   8.3  director1 dies: its program is killed and its cable pulled out"}},
	} {
		same(t, tt.style.event(e), tt.want)
	}
}

func TestThePictureFits(t *testing.T) {
	for _, width := range []int{80, 40} {
		for _, plane := range []dataplane{inKernel, inUserspace} {
			for line := range strings.Lines(picture(plane, width)) {
				if len(strings.TrimSuffix(line, "\n")) > width {
					t.Errorf("%d columns: %q", width, line)
				}
			}
		}
	}
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}
