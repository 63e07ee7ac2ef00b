package sysctl

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// String is "8080" or "8000-8080", as the kernel writes it.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// parsePorts reads the kernel's list, "8080,9000-9010" (kernel/sysctl.c,
// proc_do_large_bitmap).
func parsePorts(list string) ([]PortRange, error) {
	var ranges []PortRange
	if list == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		low, high, span := strings.Cut(part, "-")
		if !span {
			high = low
		}
		first, err1 := strconv.ParseUint(low, 10, 16)
		last, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || first > last {
			return nil, fmt.Errorf("unreadable port range %q", part)
		}
		ranges = append(ranges, PortRange{uint16(first), uint16(last)})
	}
	return joinPorts(ranges), nil
}

// joinPorts sorts ranges and joins those that touch, as the kernel does.
func joinPorts(ranges []PortRange) []PortRange {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b PortRange) int { return int(a.First) - int(b.First) })
	var joined []PortRange
	for _, r := range sorted {
		if n := len(joined); n > 0 && int(r.First) <= int(joined[n-1].Last)+1 {
			joined[n-1].Last = max(joined[n-1].Last, r.Last)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

func formatPorts(ranges []PortRange) string {
	parts := make([]string, len(ranges))
	for i, r := range ranges {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}
