package ipvs

import (
	"fmt"
	"strconv"
	"strings"
)

// parseTotals reads the format of /proc/net/ip_vs_stats: two lines of headings, the
// counters, a heading, the rates, all in hexadecimal (net/netfilter/ipvs/ip_vs_ctl.c,
// ip_vs_stats_show).
func parseTotals(text string) (s Stats, err error) {
	var numbers []uint64
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) != 5 || !isHex(words[0]) {
			continue // a heading
		}
		for _, w := range words {
			n, err := strconv.ParseUint(w, 16, 64)
			if err != nil {
				return Stats{}, fmt.Errorf("a line of totals that cannot be read: %q", line)
			}
			numbers = append(numbers, n)
		}
	}
	if len(numbers) != 10 {
		return Stats{}, fmt.Errorf("%d totals, want 10: %q", len(numbers), text)
	}
	return Stats{
		Connections: numbers[0], InPackets: numbers[1], OutPackets: numbers[2], InBytes: numbers[3], OutBytes: numbers[4],
		ConnectionRate: numbers[5], InPacketRate: numbers[6], OutPacketRate: numbers[7], InByteRate: numbers[8], OutByteRate: numbers[9],
	}, nil
}

func isHex(s string) bool {
	_, err := strconv.ParseUint(s, 16, 64)
	return err == nil
}
